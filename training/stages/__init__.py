"""The stages of training: what each reads, what it is computed by, and how it is kept."""
