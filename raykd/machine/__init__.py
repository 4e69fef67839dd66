"""The machine under a run: cores, memory, and how matrices are multiplied."""
