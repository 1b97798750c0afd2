"""When to refresh, learned from training data: the gain of a refresh, and what scores mean."""
