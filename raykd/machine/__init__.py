"""The machine under a run: its cores and its memory, and the process that trains there."""
