"""What `tests/bench/gpu.py` does on one device: it checks numbers, then measures."""
