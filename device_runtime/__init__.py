"""What could ship on a phone: numpy, onnxruntime and httpx2 only."""
