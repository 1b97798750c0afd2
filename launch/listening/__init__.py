"""Listening for HTTP: uvicorn with the bounds it lacks, so that nobody's silence is another's."""
