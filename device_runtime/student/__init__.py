"""The text student: what the words of a device say of the next item, told by the device."""
