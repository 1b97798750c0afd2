"""The contracts both services keep: values, schemas, metrics and settings. No I/O frameworks."""
