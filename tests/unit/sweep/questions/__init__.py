"""What studies ask, and what their results answer."""
