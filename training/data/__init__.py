"""Interaction logs, one module per source; ``registry`` finds and loads them. No torch here."""
