"""Which positions of a batch are scored, what is right there, and how to score a model."""
