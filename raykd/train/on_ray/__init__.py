"""The workers of a run on a Ray cluster: attempts at it, and why they end."""
