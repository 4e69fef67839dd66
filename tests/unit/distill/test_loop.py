"""Steps do not depend on how a batch is cut; nothing non-finite reaches the weights."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from raykd.batch import Batch, LayersWanted, ModelOutputs
from raykd.config.schedule import parse_schedule
from raykd.config.schema.run import RunConfig
from raykd.config.schema.train import OptimizerConfig
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.loop import FinishedStep, StepBatches, training_steps
from raykd.distill.optimizer import learning_rate
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.errors import NonFiniteLossError
from raykd.models.load import save_model

from tests.small_runs import TINY_LLAMA, small_data, small_run
from tests.tiny_models import tiny_model


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("loop")
    small_data(path / "data")
    return path


def take_steps(run: Distillation, count: int) -> list[FinishedStep]:
    steps = training_steps(
        run.state, run.objective, run.steps(), options=run.loop_options, world=run.world
    )
    return list(itertools.islice(steps, count))


def gradient(config: RunConfig, dtype: torch.dtype) -> torch.Tensor:
    """Return the gradient of the first step, read off the weights that SGD moves by it."""
    run = assemble(read_setup(config), world=World())
    run.student.to(dtype)
    run.state.optimizer = torch.optim.SGD(run.student.parameters(), lr=1.0)
    before = [parameter.detach().clone() for parameter in run.student.parameters()]
    options = dataclasses.replace(
        run.loop_options,
        optimizer=OptimizerConfig(learning_rate=1.0, warmup_fraction=0, max_grad_norm=1e9),
    )
    steps = training_steps(run.state, run.objective, run.steps(), options=options, world=run.world)
    next(steps)
    after = run.student.parameters()
    return torch.cat([(b - a.detach()).flatten() for b, a in zip(before, after, strict=True)])


TASKS = {
    "masked_lm": {},
    "causal_lm": {"student__architecture": TINY_LLAMA},
    "sequence_classification": {},
    "token_classification": {},
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=str
)
def test_gradient_does_not_depend_on_the_micro_batches(
    directory: Path, task: str, dtype: torch.dtype, tolerance: float
) -> None:
    whole = gradient(
        small_run(directory, task=task, train__micro_batch_size=8, **TASKS[task]), dtype
    )
    assert whole.abs().max() > 1e-3
    for size in (1, 2, 3, 5):
        config = small_run(directory, task=task, train__micro_batch_size=size, **TASKS[task])
        torch.testing.assert_close(gradient(config, dtype), whole, atol=tolerance, rtol=tolerance)


def test_training_learns(directory: Path) -> None:
    config = small_run(directory, task="causal_lm", train__num_steps=40, **TASKS["causal_lm"])
    run = assemble(read_setup(config), world=World())
    finished = take_steps(run, 40)
    # The next token is the last one plus 1 or 2, modulo 59: ln 2 nats can be reached.
    assert finished[-1].loss < 0.7 * finished[0].loss
    assert run.state.step == 40
    assert run.state.tokens == sum(step.tokens for step in finished)


def test_a_step_tells_how_long_it_waited_for_its_batches(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = assemble(read_setup(small_run(directory)), world=World())
    batches = list(itertools.islice(run.steps(), 3))
    now = [0.0]

    def source() -> Iterator[StepBatches]:
        for number, each in enumerate(batches):
            now.append(now[-1] + number)
            yield each
            now.append(now[-1] + 10)

    monkeypatch.setattr("time.perf_counter", lambda: now[-1])
    steps = training_steps(
        run.state, run.objective, source(), options=run.loop_options, world=run.world
    )
    waits = [step.data_wait_seconds for step in itertools.islice(steps, 3)]
    monkeypatch.undo()
    # The first step waits for its batches and for those of the next, the others for these alone.
    assert waits == [11.0, 12.0, 10.0]


def test_an_infinite_loss_stops_before_the_weights_change(directory: Path) -> None:
    run = assemble(read_setup(small_run(directory)), world=World())
    take_steps(run, 2)
    before = [parameter.detach().clone() for parameter in run.student.parameters()]
    term = dataclasses.replace(run.objective.terms[0], weight=parse_schedule("1e39"))
    run.objective.terms = (term,)
    with pytest.raises(
        NonFiniteLossError, match=r"step 3: the loss is (inf|nan).*those of step 2"
    ):
        take_steps(run, 1)
    for mine, theirs in zip(run.student.parameters(), before, strict=True):
        assert torch.equal(mine, theirs)
    assert run.state.step == 2


def test_maps_of_layers_learn_beside_the_student(directory: Path) -> None:
    teacher = directory / "wide"
    save_model(tiny_model("bert", "masked_lm", num_layers=4), teacher)
    config = small_run(
        directory,
        teachers={"wide": {"model": str(teacher)}},
        losses={"hidden_states": {}},
        train__num_steps=30,
    )
    run = assemble(read_setup(config), world=World())
    assert list(run.state.projections) == ["hidden_states"]
    before = [parameter.detach().clone() for parameter in run.state.projections.parameters()]
    finished = take_steps(run, 30)
    assert finished[-1].loss < 0.7 * finished[0].loss
    after = run.state.projections.parameters()
    assert all(not torch.equal(a, b) for a, b in zip(after, before, strict=True))


def test_dropout_depends_on_seed_and_step_alone(directory: Path) -> None:
    config = small_run(directory, student__architecture__dropout=0.3)
    runs = [assemble(read_setup(config), world=World()) for _ in range(2)]
    first = take_steps(runs[0], 4)
    torch.rand(17)
    assert take_steps(runs[1], 2) + take_steps(runs[1], 2) == first


def test_weights_follow_their_schedules(directory: Path) -> None:
    config = small_run(directory, losses__cross_entropy__weight="4 -> 1", train__num_steps=4)
    finished = take_steps(assemble(read_setup(config), world=World()), 4)
    ratios = [step.loss / step.terms["cross_entropy"] for step in finished]
    assert ratios == pytest.approx([4, 3, 2, 1])


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        ("cosine", [0.5, 1, 1, 0.9330127, 0.75, 0.5, 0.25, 0.0669873]),
    ],
)
def test_learning_rate(schedule: str, expected: list[float]) -> None:
    config = OptimizerConfig(learning_rate=1.0, schedule=schedule, warmup_fraction=0.25)  # type: ignore[arg-type]  # a Literal, listed above
    rates = [learning_rate(config, step=step, num_steps=8) for step in range(8)]
    assert rates == pytest.approx(expected)


def test_bfloat16_follows_float32_closely(directory: Path) -> None:
    losses = {}
    for precision in ("float32", "bfloat16"):
        run = assemble(read_setup(small_run(directory, train__precision=precision)), world=World())
        losses[precision] = [step.loss for step in take_steps(run, 6)]
        assert {p.dtype for p in run.student.parameters()} == {torch.float32}
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)


def test_a_teacher_without_weight_is_not_asked(directory: Path) -> None:
    teacher = directory / "teacher"
    save_model(assemble(read_setup(small_run(directory)), world=World()).student.model, teacher)
    config = small_run(
        directory,
        teachers={"small": {"model": str(teacher)}},
        losses={"cross_entropy": {}, "forward_kl": {"weight": "1 @ 0.5 -> 0 @ 0.5"}},
        train__num_steps=4,
    )
    run = assemble(read_setup(config), world=World())
    assert run.objective.ensemble is not None
    live = run.objective.ensemble.teachers["small"]
    asked: list[int] = []

    def counted(batch: Batch, wanted: LayersWanted) -> ModelOutputs:
        asked.append(run.state.step)
        return live(batch, wanted)

    run.objective.ensemble.teachers["small"] = counted
    finished = take_steps(run, 4)
    assert sorted(set(asked)) == [0, 1]
    assert [sorted(step.terms) for step in finished] == [
        ["cross_entropy", "forward_kl"],
        ["cross_entropy", "forward_kl"],
        ["cross_entropy"],
        ["cross_entropy"],
    ]
    alone = assemble(read_setup(small_run(directory, train__num_steps=4)), world=World())
    assert take_steps(alone, 1)[0].terms["cross_entropy"] == pytest.approx(
        finished[0].terms["cross_entropy"]
    )
