"""A checkpoint is the state of one step, whatever training does meanwhile, from any workers."""

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from raykd.data.manifest import TOKENIZER_DIRECTORY
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.loop import training_steps
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.runs.checkpoint import KIND, RunState, restore_checkpoint
from raykd.runs.snapshot import Copies, publish_snapshot, shares, take_snapshot
from raykd.storage.published.directory import read_published
from raykd.storage.published.places import Part

from tests.small_runs import small_data, small_run


def run_state(run: Distillation) -> RunState:
    return RunState(
        step=run.state.step,
        tokens=run.state.tokens,
        data=run.state.data,
        data_fingerprint=run.setup.manifest.fingerprint,
        world_size=1,
        best=None,
        first_evaluation=None,
        recent_loss=run.state.recent_loss,
        num_losses=run.state.num_losses,
    )


def take_steps(run: Distillation, count: int) -> None:
    stepped = training_steps(
        run.state, run.objective, run.steps(), options=run.loop_options, world=run.world
    )
    for _ in range(count):
        next(stepped)


def tensors(run: Distillation) -> dict[str, torch.Tensor]:
    named = {}
    for name, parameter in run.student.named_parameters():
        named[name] = parameter.detach()
        for moment, value in run.state.optimizer.state[parameter].items():
            named[f"{name}/{moment}"] = value
    return named


@pytest.fixture
def trained(tmp_path: Path) -> Distillation:
    small_data(tmp_path / "data")
    run = assemble(read_setup(small_run(tmp_path)), world=World())
    take_steps(run, 2)
    return run


@pytest.mark.parametrize(("num_workers", "num_files"), [(1, 1), (2, 2), (5, 4)])
def test_shares_of_any_number_of_workers_restore_bit_by_bit(
    trained: Distillation, tmp_path: Path, num_workers: int, num_files: int
) -> None:
    uri = str(tmp_path / "step-00000002")
    saved = run_state(trained)
    expected = copy.deepcopy(tensors(trained))
    snapshots = [
        take_snapshot(
            trained.state,
            run_state=saved,
            world=World(rank=rank, size=num_workers),
            copies=Copies(),
        )
        for rank in range(num_workers)
    ]
    take_steps(trained, 1)
    with ThreadPoolExecutor(num_workers) as threads:
        for rank, snapshot in enumerate(snapshots):
            threads.submit(
                publish_snapshot,
                uri,
                snapshot,
                part=Part(index=rank, count=num_workers, token="t"),  # noqa: S106  no secret
                origin={"run": "small"},
                companions=tmp_path / "data" / TOKENIZER_DIRECTORY,
            )
    fresh = assemble(read_setup(trained.config), world=World(), is_restored=True)
    assert restore_checkpoint(uri, fresh.state) == saved
    restored = tensors(fresh)
    assert restored.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(restored[name], tensor), name
    files = read_published(uri, kind=KIND).files
    # The first of five has the student to write, which is more than a fifth.
    assert len([f for f in files if f.startswith("optimizer/adamw-")]) == num_files


@given(
    sizes=st.dictionaries(st.text(max_size=4), st.integers(1, 1_000), max_size=30),
    count=st.integers(1, 8),
    taken=st.integers(0, 5_000),
)
def test_shares_hold_everything_once_and_none_is_much_larger(
    sizes: dict[str, int], count: int, taken: int
) -> None:
    dealt = shares(sizes, count=count, taken=taken)
    assert sorted(name for names in dealt for name in names) == sorted(sizes)
    loads = [sum(sizes[name] for name in names) for names in dealt]
    largest = max(sizes.values(), default=0)
    if dealt[0]:
        loads[0] += taken
    else:
        loads = loads[1:] or [0]
    assert max(loads) - min(loads) <= largest


def test_one_snapshot_after_the_other_is_copied_into_the_same_memory(
    trained: Distillation,
) -> None:
    copies = Copies()

    def taken() -> dict[str, torch.Tensor]:
        snapshot = take_snapshot(
            trained.state, run_state=run_state(trained), world=World(), copies=copies
        )
        assert snapshot.model is not None
        files = snapshot.model.tensors.values()
        return snapshot.moments | {name: t for tensors in files for name, t in tensors.items()}

    first = taken()
    places = {name: tensor.data_ptr() for name, tensor in first.items()}
    before = {name: tensor.clone() for name, tensor in first.items()}
    take_steps(trained, 1)
    second = taken()
    assert {name: tensor.data_ptr() for name, tensor in second.items()} == places
    assert not any(torch.equal(tensor, before[name]) for name, tensor in second.items())
