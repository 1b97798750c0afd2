"""Methods of other papers, and simpler remedies for an old snapshot."""
