"""The last snapshot of every user, in Redis or in memory."""
