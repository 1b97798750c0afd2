"""How time and memory grow with items, users, window and candidates: measured, kept, shown."""
