"""A place where everything is right, so that one thing at a time can be made wrong."""

RUN = {
    "name": "small",
    "task": "masked_lm",
    "data": {"uri": "data"},
    "student": {
        "architecture": {
            "model_type": "bert",
            "num_layers": 1,
            "hidden_size": 16,
            "num_heads": 2,
            "intermediate_size": 32,
        }
    },
    "losses": {"cross_entropy": {}},
    "train": {"num_steps": 2, "global_batch_size": 4, "micro_batch_size": 4},
    "cluster": {"num_workers": 0},
}
