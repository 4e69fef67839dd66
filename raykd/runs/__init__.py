"""What a run writes to storage, and how it is read. No Ray."""
