"""raykd as a user runs it: a configuration, prepared data, `train_run`."""

from typing import Any

from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths
from raykd.train.run import Listener, train_run

from tests.bench.rivals.cases import BUCKET_STEPS, Case, Material
from tests.bench.rivals.material import run_config
from tests.bench.rivals.models import model_class
from tests.bench.rivals.watch import Watch


def changes(case: Case, way: str) -> dict[str, Any]:
    """Return what a way changes in the run in float32 with a live teacher."""
    found: dict[str, Any] = {}
    if "buckets" in way:
        found["data"] = {"bucket_steps": BUCKET_STEPS}
    if "bf16" in way:
        found["train"] = {"precision": "bfloat16"}
    teacher: dict[str, Any] = {}
    if "cached" in way:
        teacher = {"cache": {"mode": "hidden" if case.num_classes is None else "logits"}}
    if "bf16" in way:
        # A cached head is applied in the teacher's type.
        teacher["dtype"] = "bfloat16"
    return found | {"teachers": {"teacher": teacher}}


def train(case: Case, material: Material, watch: Watch, way: str) -> None:
    """Train in this process; the run asks after every step whether it should stop."""
    config = run_config(
        case,
        material,
        name=way,
        micro_batch_rows=case.micro_batch_rows,
        changes=changes(case, way),
    )
    model_class(case.task)

    def should_stop() -> bool:
        watch.step_ended()
        return False

    listener = Listener(on_record=lambda _: None, on_message=print, should_stop=should_stop)
    watch.begin()
    train_run(config, fresh=True, address="local", listener=listener)
    for record in read_metrics(run_paths(config).metrics):
        if "train/loss" in record:
            watch.found(
                {
                    "loss": record["train/loss"],
                    "cross_entropy": record["train/loss/cross_entropy"],
                    "kl": record["train/loss/forward_kl"],
                }
            )
