"""LLRec: a compressed recurrent model on the device, taught by a large one."""
