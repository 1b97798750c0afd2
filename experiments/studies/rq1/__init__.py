"""Every system of the papers in one cell, beside the product and the counters (RQ1)."""
