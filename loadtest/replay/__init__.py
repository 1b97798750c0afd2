"""The fleet: an interaction log replayed as traffic."""
