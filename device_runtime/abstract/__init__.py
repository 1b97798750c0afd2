"""What a device writes about its user, and what is kept out of it."""
