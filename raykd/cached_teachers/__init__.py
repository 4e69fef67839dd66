"""Teachers' outputs kept for runs: which, where, and built once. No Ray."""
