"""Gradients of parts of models that are computed otherwise than torch does."""
