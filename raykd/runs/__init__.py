"""What a run leaves in storage, and how it is read. No Ray."""
