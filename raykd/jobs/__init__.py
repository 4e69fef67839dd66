"""Jobs of a Ray cluster: what is submitted, and to whom."""
