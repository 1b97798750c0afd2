"""What a job stands on: servers, keys and the live view, started for its time and stopped after."""
