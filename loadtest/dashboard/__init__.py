"""The live view: what a running fleet lives through, on one page, with its controls."""
