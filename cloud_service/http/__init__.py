"""What stands around every request: who comes in, limits, problems, audit."""
