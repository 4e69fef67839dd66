"""Where the metrics of a run go beside its own file."""
