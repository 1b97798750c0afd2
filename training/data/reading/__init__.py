"""Files as they come: packed or not, in parts, with bad rows, with and without a header."""
