"""Controlled experiments on devices: staleness by the gap, full ranking, counters."""
