"""`scalrec fleet --ray` and `--processes`: the replay as shards of devices."""
