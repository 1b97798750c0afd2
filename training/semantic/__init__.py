"""The semantic channel: texts embedded, the projector, the tuned text model."""
