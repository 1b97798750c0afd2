"""The command line: composes data, training, cloud, fleet and report."""
