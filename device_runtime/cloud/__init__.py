"""The way to the cloud and back: transport, retries, breaker, cached snapshots."""
