"""What a run leaves behind: rows of requests, refreshes and experiments."""
