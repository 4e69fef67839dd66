"""A sweep under way: what comes next, and what an earlier start leaves."""
