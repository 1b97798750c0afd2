"""The weights of a device's score: own history, words, the cloud's semantics."""
