"""Proofs that the objective is what it says, for the very device and precision of a user.

``suite.py`` lists the checks. Each is given the real pieces of raykd (``subject.py``), yields
deviations that would be 0 without rounding, and has as docstring what it claims.
"""
