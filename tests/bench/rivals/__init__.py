"""Whole trainers on the same batches: raykd, and the tools that others train with.

What is in `cases`, `rows` and `watch`, and in the modules of the peers, runs in the environment
of the peers, which has no raykd.
"""
