"""Offline training: from an interaction log to the parts of a model bundle."""
