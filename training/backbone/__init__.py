"""The structural channel: encoder and item table, trained and judged."""
