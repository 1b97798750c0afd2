"""The cloud service: semantic user embeddings, candidates and snapshots over HTTP."""
