"""What a device writes about its user, and what may never be in it."""
