"""One self-contained HTML page per run, every figure of it from summary.json."""
