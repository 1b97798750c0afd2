"""Advice: does a cached cloud pay for this log and device, and at which refresh interval."""
