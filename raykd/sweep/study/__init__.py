"""A sweep under way: what comes next, and what carries over from an earlier start."""
