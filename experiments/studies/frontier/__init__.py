"""The frontier between cloud calls and ranking quality: what each refresh policy buys."""
