"""The history of a run, record by record, and the checker that holds it against a simple model."""
