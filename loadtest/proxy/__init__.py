"""A TCP fault proxy that is spoken to as Toxiproxy is, so that either serves the same script."""
