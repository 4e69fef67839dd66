"""A Ray cluster: how it is reached, what of it is granted, and why work waits."""
