"""Metrics, log lines and spans of one app."""
