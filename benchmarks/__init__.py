"""`make bench`: ratios measured in one run, ours against the peer or the limit."""
