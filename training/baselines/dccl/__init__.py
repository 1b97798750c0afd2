"""DCCL: each device patches a shared model, and the shared model learns from the patched ones."""
