"""Device encoders: one readable file per backbone."""
