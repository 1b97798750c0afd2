"""Faults: what a scenario's script does, on a virtual clock and to real processes."""
