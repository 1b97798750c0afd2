"""What a cell computes: one study a folder or module."""
