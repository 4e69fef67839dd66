"""Proofs that the objective is what it says, for the very device and precision of a user.

``suite.py`` lists the checks. Each is given the real pieces of raykd (``subject.py``) and
returns the largest deviation that it found.
"""
