"""What it costs that a run survives: its checkpoints, and what follows a failure."""
