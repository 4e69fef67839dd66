"""Names of what lies in the directories of runs, sweeps and caches: no more than names."""

RUN_CONFIG = "run.yaml"
INPUTS = "inputs.json"
LEASE = "lease.json"
"""Name of the lease in the directories of runs, sweeps and caches."""

CHECKPOINTS = "checkpoints"
CHECKPOINT_PREFIX = "step-"
"""The step follows, in eight digits or more."""

MODEL = "model"
RAY = "ray"

STUDENT = "student"
OPTIMIZER = "optimizer"
STATE = "state.json"
"""These three are in a checkpoint."""

SWEEP_CONFIG = "sweep.yaml"
SWEEP_INDEX = "index.json"
RECORDS = "records"
"""Directory of records in those of sweeps and caches."""

CHECKPOINT_KIND = "checkpoint"
MODEL_KIND = "model"
"""What their directories are published as."""

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")
"""Either makes a tokenizer; where both are, the first one counts."""
