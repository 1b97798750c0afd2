"""One YAML per table or figure of the papers, and the runner that fills them with figures."""
