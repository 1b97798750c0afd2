"""DUET: the cloud writes the last layers of the device's model, out of the user's history."""
