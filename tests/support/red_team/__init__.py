"""Strings that must not leave a device, and innocent ones that should: see ``corpus``."""
