"""A run at its edges: storage, Ray Train, restore, report."""
