"""`scalrec fleet --ray`: the replay as shards of devices on a Ray cluster."""
