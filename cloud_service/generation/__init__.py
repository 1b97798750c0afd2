"""Generative retrieval: candidates written token by token by an encoder-decoder."""
