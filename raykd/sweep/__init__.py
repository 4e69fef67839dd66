"""A sweep as data: what it consists of, what is known of each trial, what comes next. No Ray."""
