"""Tokens in a second, use of the device and memory: raykd beside `transformers.Trainer`.

Student and teacher are of one size, BERT-base or GPT-2; all ways compute in bfloat16, take the
same steps from the same weights, and find the same losses. MFU is the share of the products
that the device can take in the time: of a step they are counted as for raykd's own live run, so
what a way computes beyond that counts for nothing. A cached teacher spares its own part.
"""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from raykd.cached_teachers.build import ensure_caches
from raykd.cached_teachers.writer import CacheWatch
from raykd.config.schema.run import RunConfig
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.machine.devices import products_per_second
from raykd.models.load import load_config
from raykd.planning.flops import run_flops
from raykd.runs.metrics import read_metrics
from raykd.runs.paths import run_paths
from raykd.runs.stop import StopReason
from raykd.train.worker import Context, train_worker

from tests.bench.device.setting import Part, Row, Setting, reason_of
from tests.bench.device.watch import DeviceWatch
from tests.bench.rivals import hugging_face
from tests.bench.rivals.cases import Case, Material, ModelSize
from tests.bench.rivals.material import make_material, run_config
from tests.bench.rivals.rows import load_rows, num_tokens

_BASE = ModelSize(num_layers=12, hidden_size=768, num_heads=12)
_TINY = ModelSize(num_layers=1, hidden_size=32, num_heads=2)
_STEPS, _WARM_UP_STEPS = 30, 10

Train = Callable[[Case, Material, DeviceWatch], RunConfig]
"""Takes the steps of a case under a watch; returns the run whose products they are."""

_BF16: Mapping[str, Any] = MappingProxyType(
    {"precision": "bfloat16", "log_every_steps": _STEPS, "loss_spike_factor": None}
)


def case_of(setting: Setting, name: str) -> Case:
    """Return what is trained: BERT-base on 128 rows of 128 tokens, or GPT-2 on 16 of 512."""
    is_causal, size = name == "causal", _TINY if setting.is_small else _BASE
    rows, length = (16, 512) if is_causal else (128, 128)
    if setting.is_small:
        rows, length = 4, 32
    return Case(
        name=name,
        task=f"{name}_lm",
        title=f"{name} LM",
        student=size,
        teacher=size,
        vocab_size=2_000 if setting.is_small else 50_257 if is_causal else 30_522,
        max_length=length,
        batch_rows=rows,
        micro_batch_rows=rows,
        num_steps=4 if setting.is_small else _STEPS,
        num_warm_up_steps=1 if setting.is_small else _WARM_UP_STEPS,
        temperature=2.0,
    )


def raykd(case: Case, material: Material, watch: DeviceWatch, **changes: Any) -> RunConfig:
    """Train with raykd's worker, which Ray would start as it is."""
    config = run_of(case, material, watch.device, changes)
    ensure_caches(config, watch=CacheWatch())

    def stop_reason() -> StopReason:
        watch.step_ended()
        return StopReason.NONE

    world = World(device=watch.device)
    watch.begin()
    train_worker(
        config,
        run_paths(config),
        Context(world=world, report=lambda _: None, stop_reason=stop_reason),
    )
    # Logged once: the mean over all steps.
    (record,) = read_metrics(run_paths(config).metrics)
    watch.found({"loss": record["train/loss"] * case.num_steps})
    return config


def run_of(
    case: Case, material: Material, device: torch.device, changes: Mapping[str, Any]
) -> RunConfig:
    """Return raykd's run of a case in bfloat16."""
    return run_config(
        case,
        material,
        name="-".join(["run", *changes]),
        micro_batch_rows=case.micro_batch_rows,
        changes={
            "cluster": {"gpus_per_worker": int(device.type == "cuda")},
            "train": {**_BF16, "compile": changes.get("compile", False)},
            "teachers": {"teacher": {"dtype": "bfloat16", "cache": changes.get("cache")}},
        },
    )


def transformers(case: Case, material: Material, watch: DeviceWatch, **kind: bool) -> RunConfig:
    """Train with `transformers.Trainer` and the usual loss, or with Liger's."""
    hugging_face.train(
        case,
        material,
        watch,
        hugging_face.Kind(bf16=True, device=watch.device.type, **kind),
    )
    return run_of(case, material, watch.device, {})


WAYS: dict[str, Train] = {
    "transformers.Trainer": transformers,
    "the same, Liger's loss": functools.partial(transformers, is_fused=True),
    "raykd": raykd,
    "raykd, cached": functools.partial(raykd, cache={"mode": "hidden"}),
}
COMPILED: dict[str, Train] = {"raykd, compiled": functools.partial(raykd, compile=True)}


def compared(setting: Setting, name: str, ways: Mapping[str, Train]) -> list[Row]:
    """Let each way take the steps of a case."""
    case, material = case_of(setting, name), Material(root=setting.directory / f"large-{name}")
    if not material.rows.exists():
        make_material(case, material)
    rows: list[Row] = []
    for way, train in ways.items():
        watch = DeviceWatch(
            device=setting.device,
            num_warm_up_steps=case.num_warm_up_steps,
            num_steps=case.num_steps,
        )
        try:
            config = train(case, material, watch)
        except Exception as error:  # noqa: BLE001  one way that cannot run leaves the others
            rows.append({"way": way, "note": reason_of(error)})
        else:
            rows.append({"way": way, **_figures(case, material, watch, config)})
    return rows


def _figures(case: Case, material: Material, watch: DeviceWatch, config: RunConfig) -> Row:
    timed = load_rows(material.rows)[case.num_warm_up_steps :]
    rate = sum(map(num_tokens, timed)) / len(timed) / watch.seconds_per_step
    flops = run_flops(
        read_setup(config),
        student=load_config(str(material.student)),
        teachers={"teacher": load_config(str(material.teacher))},
    )
    able = products_per_second(watch.device, torch.bfloat16, torch.get_num_threads())
    return {
        "tokens/s": rate,
        "ms a step": 1e3 * watch.seconds_per_step,
        "MFU": rate * flops.total_per_token / able,
        "peak GB": watch.bytes_peak / 1e9,
        "mean loss": float(watch.loss_sum) / case.num_steps,
    }


PARTS: dict[str, Part] = {
    "masked": functools.partial(compared, name="masked", ways=WAYS),
    "causal": functools.partial(compared, name="causal", ways=WAYS),
    "masked-compiled": functools.partial(compared, name="masked", ways=COMPILED),
    "causal-compiled": functools.partial(compared, name="causal", ways=COMPILED),
}
