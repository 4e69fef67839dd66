"""A run is written, read back, and known by what it computes."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from raykd.config.identity import WITHOUT_EFFECT, run_id
from raykd.config.load import as_yaml, checked_run, load_run, plain
from raykd.config.yaml_text import read_yaml

COMPLETE = read_yaml("""\
name: complete
output_uri: s3://bucket/runs
task: sequence_classification
data:
  uri: s3://bucket/data
  train_split: a
  eval_split: b
  languages: [no, de]
  mixing: {fixed: {weights: {no: 1, de: 2.5}}}
  masking: {fraction: 0.2, mask_fraction: 0.7, random_fraction: 0.2}
  num_lanes: 8
  shuffle_window: 2
student:
  architecture:
    model_type: bert
    num_layers: 3
    hidden_size: 12
    num_heads: 2
    intermediate_size: 24
    dropout: 0.25
    settings: {layer_norm_eps: 1e-5, hidden_act: relu, use_cache: true}
  init:
    copy_layers: {source: models/x, pattern: first, layers: [0, 2, 4], parts: [encoder]}
  freeze: [embeddings, layers below 2]
losses:
  cross_entropy: {weight: 0.5}
  forward_kl: {weight: 4 -> 1, temperature: 2, scale_by_temperature_squared: false}
  logit_mse: {weight: '1e-3'}
train:
  num_epochs: 1.5
  global_batch_size: 32
  micro_batch_size: 8
  precision: bfloat16
  seed: 3
  log_every_steps: 5
  eval_every_steps: 50
  eval_at: [0.25]
  profile_steps: [2, 3]
teachers:
  big:
    model: org/model
    revision: main
    dtype: bfloat16
    cache: {mode: logits, precision: float16, max_gradient_error: 0.1, uri: s3://bucket/cache}
optimizer:
  learning_rate: 1e-4
  schedule: cosine
  warmup_fraction: 0.1
  weight_decay: 0.1
  beta1: 0.8
  beta2: 0.95
  epsilon: 1e-6
  max_grad_norm: 0.5
checkpoint: {every_steps: 100, keep_last: 3, keep_best: false, milestones: [0.25, 1]}
cluster: {num_workers: 4, gpus_per_worker: 1, cpus_per_worker: 2, max_failures: 5}
tracking: {tensorboard: true}
inputs: {teachers.absent.model: 1a2b}
""")

RUN = checked_run(COMPLETE, origin="complete")


def test_a_written_run_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(as_yaml(RUN))
    assert load_run(path) == RUN


def test_a_plain_run_checks_as_the_same_run() -> None:
    assert checked_run(plain(RUN), origin="plain") == RUN


def leaves(node: Any, parents: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(node, dict):
        return [parents]
    return [leaf for name, child in node.items() for leaf in leaves(child, (*parents, name))]


def another(value: Any) -> Any:
    """Return another value, of the same type where there is one."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value * 3 + 1
        case str():
            return f"{value}1"
        case tuple():
            return value[:-1]
    assert value is None
    return "something"


def with_another(node: Any, parts: tuple[str, ...]) -> Any:
    """Return a run, or a part of it, where one leaf has another value."""
    first, *rest = parts
    child = node[first] if isinstance(node, dict) else getattr(node, first)
    child = with_another(child, tuple(rest)) if rest else another(child)
    return {**node, first: child} if isinstance(node, dict) else replace(node, **{first: child})


LEAVES = leaves(plain(RUN))


def test_no_key_is_left_out_of_what_follows() -> None:
    assert len(LEAVES) >= 60
    assert {parts[0] for parts in LEAVES} == set(plain(RUN))


@pytest.mark.parametrize("parts", LEAVES, ids=".".join)
def test_the_identity_changes_with_every_key_that_has_an_effect(parts: tuple[str, ...]) -> None:
    changed = with_another(RUN, parts)
    assert changed != RUN
    is_without = (
        parts[0] in WITHOUT_EFFECT
        or parts[2:] == ("cache", "uri")
        or parts == ("train", "profile_steps")
    )
    assert (run_id(changed) == run_id(RUN)) == is_without


def test_where_it_runs_and_writes_does_not_change_the_identity() -> None:
    assert WITHOUT_EFFECT == ("output_uri", "checkpoint", "cluster", "tracking")


def test_the_identity_is_the_name_and_a_short_hash() -> None:
    assert re.fullmatch("complete-[0-9a-f]{8}", run_id(RUN))


def test_the_order_and_the_spelling_of_a_file_do_not_change_the_identity() -> None:
    reordered = dict(reversed(COMPLETE.items()))
    reordered["optimizer"] = {**COMPLETE["optimizer"], "learning_rate": "0.0001"}
    assert run_id(checked_run(reordered, origin="reordered")) == run_id(RUN)
