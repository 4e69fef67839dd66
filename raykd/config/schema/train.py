"""Optimisation, checkpoints, tracking, and the machines a run asks for."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """AdamW with warm-up and decay."""

    learning_rate: float = 5e-4
    """Peak learning rate, reached at the end of warm-up."""

    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after warm-up: to zero, to zero, or not at all."""

    warmup_fraction: float = 0.05
    """Share of the steps spent warming up linearly from zero, between 0 and 1."""

    weight_decay: float = 0.01
    """Decoupled weight decay; biases and norms are exempt."""

    beta1: float = 0.9
    """Decay of AdamW's mean of the gradient."""

    beta2: float = 0.999
    """Decay of AdamW's mean of the squared gradient."""

    epsilon: float = 1e-8
    """Added to AdamW's denominator."""

    max_grad_norm: float = 1.0
    """Gradients are clipped to this global L2 norm."""

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        problems = [
            f"optimizer.{name} must be > 0, got {value}"
            for name in ("learning_rate", "epsilon", "max_grad_norm")
            if (value := getattr(self, name)) <= 0
        ]
        if self.weight_decay < 0:
            problems.append(f"optimizer.weight_decay must be >= 0, got {self.weight_decay}")
        problems += [
            f"optimizer.{name} must be in [0, 1), got {value}"
            for name in ("warmup_fraction", "beta1", "beta2")
            if not 0 <= (value := getattr(self, name)) < 1
        ]
        return problems


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """How long, how large, how often."""

    num_steps: int | None = None
    """Optimizer steps; data repeats as often as needed. Give this or num_epochs."""

    num_epochs: float | None = None
    """Passes over the training split, rounded to whole steps. Give this or num_steps."""

    global_batch_size: int = 64
    """Examples per optimizer step over all workers."""

    micro_batch_size: int = 16
    """Examples per forward pass on one worker; a memory knob without effect on results."""

    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of forward and backward; weights and optimizer stay float32. CPUs that have no
    instructions for bfloat16 are slower in it."""

    activation_checkpointing: bool = False
    """Keep only the inputs of the student's layers, and compute each layer again for its
    gradient: a third more work for much less memory, and the same results."""

    compile: bool = False
    """Compile the student, its teachers and the terms on logits with torch.compile: for GPUs,
    where it takes minutes at the start. Results differ in the last digits, and dropout is drawn
    in another way."""

    seed: int = 17
    """Decides initial weights, the order of examples, masks and dropout."""

    log_every_steps: int = 10
    """Steps between two reports of the training loss."""

    eval_every_steps: int = 500
    """Steps between two evaluations; there is always one after the last step."""

    eval_at: tuple[float, ...] = ()
    """Fractions of the steps at which it is evaluated too, such as [0.1] for one early look."""

    eval_first: bool = False
    """Evaluate before the first step too. A pretrained student's later evaluations then report
    forgetting: the accuracy it began with minus the one it has, in all and per language."""

    keep: Literal["last", "best"] = "last"
    """Weights that the run exports as its model: those after the last step, or those of the
    checkpoint with the lowest evaluation loss."""

    loss_spike_factor: float | None = None
    """Stop before a step whose loss is more than this many times the mean of recent losses, such
    as 3, once there are ten; null never does. A step that scores no position has no loss. A NaN or
    an infinite loss always stops. A term whose weight jumps up makes a spike too."""

    profile_steps: tuple[int, ...] | None = None
    """First and last step, such as [20, 22], of which the first worker writes a trace of torch's
    profiler: RUN/profile.json.gz, for ui.perfetto.dev or chrome://tracing. Changes no result."""

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        problems = []
        if (self.num_steps is None) == (self.num_epochs is None):
            problems.append(
                "train needs exactly one of num_steps and num_epochs, got "
                f"{self.num_steps} and {self.num_epochs}"
            )
        counts = (
            "num_steps",
            "global_batch_size",
            "micro_batch_size",
            "log_every_steps",
            "eval_every_steps",
        )
        problems += [
            f"train.{name} must be >= 1, got {value}"
            for name in counts
            if (value := getattr(self, name)) is not None and value < 1
        ]
        if not all(0 < fraction <= 1 for fraction in self.eval_at):
            problems.append(f"train.eval_at must be in (0, 1], got {list(self.eval_at)}")
        if self.num_epochs is not None and self.num_epochs <= 0:
            problems.append(f"train.num_epochs must be > 0, got {self.num_epochs}")
        if not 0 <= self.seed < 2**31:
            problems.append(f"train.seed must be in [0, 2^31), got {self.seed}")
        if self.loss_spike_factor is not None and self.loss_spike_factor <= 1:
            problems.append(f"train.loss_spike_factor must be > 1, got {self.loss_spike_factor}")
        return problems + self._profile_problems()

    def _profile_problems(self) -> list[str]:
        # With num_epochs the number of steps is known only with the data: its end is open here.
        if (window := self.profile_steps) is None:
            return []
        last_step = math.inf if self.num_steps is None else self.num_steps
        if len(window) == 2 and 1 <= window[0] <= window[1] <= last_step:  # noqa: PLR2004  a pair
            return []
        return [
            "train.profile_steps must be the first and the last step to record, such as [20, 22], "
            f"within the steps of the run; got {list(window)}"
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointConfig:
    """Which states of a run are kept."""

    every_steps: int = 500
    """Steps between two checkpoints; there is always one after the last step. They are written
    beside the training: one that is due while another is on its way follows when that is there."""

    keep_last: int = 2
    """Newest checkpoints to keep, at least one."""

    keep_best: bool = True
    """Also keep the checkpoint with the lowest evaluation loss."""

    milestones: tuple[float, ...] = ()
    """Fractions of the run, such as [0.25, 0.5], whose checkpoints are kept for ever."""

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        problems = [
            f"checkpoint.{name} must be >= 1, got {value}"
            for name in ("every_steps", "keep_last")
            if (value := getattr(self, name)) < 1
        ]
        if not all(0 < fraction <= 1 for fraction in self.milestones):
            problems.append(
                f"checkpoint.milestones must be in (0, 1], got {list(self.milestones)}"
            )
        return problems


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterConfig:
    """What to ask Ray for."""

    num_workers: int = 1
    """Data-parallel workers; 0 runs in this process without Ray."""

    gpus_per_worker: float = 0.0
    """GPUs of each worker; 0 computes on the CPU."""

    cpus_per_worker: float = 1.0
    """CPU cores of each worker, which is also its number of threads."""

    min_workers: int | None = None
    """Fewest workers to go on with where machines are lost, until num_workers can be placed
    again; null waits for num_workers. The steps and their batches are the same with any number."""

    shard_student: bool = False
    """Shard the student's weights, gradients and moments over the workers (FSDP2) instead of
    keeping all in each: for students that do not fit, with more communication and the same
    results. Each worker holds all weights once, while it starts; a single one always does."""

    overlap_teacher: bool = False
    """Run the teachers on the next micro-batch while the student learns from this one: on a CPU on
    half of the worker's cores, on a GPU in a stream of its own. The same results, for the memory
    of both at work; nothing where teachers are read from caches."""

    max_failures: int = 3
    """Restarts after failures before the run fails: killed or hung workers, lost nodes, memory,
    storage. Counted from the start of the command on; steps in between forgive none."""

    max_preemptions: int | None = None
    """Restarts after machines were announced to be taken away, counted apart; null: no end."""

    collective_timeout_seconds: float = 1800.0
    """How long a worker waits for the others before the one that is missing counts as hung."""

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        problems = [
            f"cluster.{name} must be >= 0, got {value}"
            for name in ("num_workers", "gpus_per_worker", "max_failures", "max_preemptions")
            if (value := getattr(self, name)) is not None and value < 0
        ]
        problems += [
            f"cluster.{name} must be > 0, got {value}"
            for name in ("cpus_per_worker", "collective_timeout_seconds")
            if (value := getattr(self, name)) <= 0
        ]
        # In this process a run has all cores that are there.
        on_cpus = self.num_workers > 0 and not self.gpus_per_worker
        if self.overlap_teacher and on_cpus and self.cpus_per_worker < 2:  # noqa: PLR2004  one each
            problems.append(
                "cluster.overlap_teacher needs cluster.cpus_per_worker >= 2, for the student and "
                f"for its teachers; got {self.cpus_per_worker:g}"
            )
        if self.min_workers is not None and not 1 <= self.min_workers <= self.num_workers:
            problems.append(
                "cluster.min_workers must be in [1, cluster.num_workers], which is "
                f"{self.num_workers}; got {self.min_workers}"
            )
        return problems


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackingConfig:
    """Where metrics go beside metrics.jsonl, which is always written."""

    tensorboard: bool = False
    """Write TensorBoard events beside metrics.jsonl."""

    mlflow: str | None = None
    """Log to MLflow, in the experiment named like the run: the URI of a server or of a database,
    such as http://host:5000 or sqlite:////home/me/mlflow.db, or a directory, which gets a database
    mlflow.db. Needs raykd[mlflow]."""

    wandb: str | None = None
    """Log to this project of Weights & Biases: offline into RUN/wandb, to be sent by wandb sync,
    or at once with WANDB_MODE=online where the workers run. Needs raykd[wandb]."""

    def problems(self) -> list[str]:
        """Return every reason this section cannot run, each naming its key."""
        return [
            f"tracking.{name} is empty: give a value, or leave it out"
            for name in ("mlflow", "wandb")
            if getattr(self, name) == ""
        ]
