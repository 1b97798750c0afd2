"""SCaLRec's study: every scorer at every age of the snapshot."""
