"""A run in MLflow: its figures, its settings and its report, where a team keeps its runs."""
