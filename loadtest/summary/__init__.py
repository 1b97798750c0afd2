"""From a run's records to its figures: summary.json."""

from loadtest.summary.build import SUMMARY_FILE, build_summary, read_summary, write_summary
from loadtest.summary.model import Estimate, Summary

__all__ = [
    "SUMMARY_FILE",
    "Estimate",
    "Summary",
    "build_summary",
    "read_summary",
    "write_summary",
]
