"""Pages, tables and charts of the experiments, made from their committed records alone."""
