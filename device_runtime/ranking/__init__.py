"""How a device ranks one request: candidates, scores, fusion, correction."""
