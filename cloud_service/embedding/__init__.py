"""Text in, L2-normalised vectors out: one protocol, three back ends."""
