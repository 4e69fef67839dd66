"""Requests to a store: which file system, what is tried again, what an error means."""
