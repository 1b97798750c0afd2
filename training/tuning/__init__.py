"""The text embedder, tuned to a log: abstracts come to lie near the text of the next item."""
