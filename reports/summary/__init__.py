"""From a run's records to its figures: summary.json."""
