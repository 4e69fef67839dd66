"""Sweeps under Ray Tune: it places the trials; what they are and what follows is raykd.sweep."""
