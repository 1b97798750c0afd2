"""What a device keeps: history, item vectors, and the cues read from them."""
