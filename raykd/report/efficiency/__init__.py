"""What quality costs: sizes of models, their latency, and the frontier of quality and cost."""
