"""A run's student as transformers alone reads it."""
