"""The terms on positions are the same as one compiled function."""

import pytest
import torch
from raykd.batch import ModelOutputs, idle_batch
from raykd.config.schema.losses import (
    CrossEntropyConfig,
    ForwardKLConfig,
    LossesConfig,
    ReverseKLConfig,
    TAIDConfig,
)
from raykd.losses.terms import build_terms
from raykd.scores import DenseScores, Scores
from raykd.teachers.cache.sparse import SparseScores
from raykd.teachers.ensemble import TeacherSignal
from raykd.teachers.on_positions import OfBlock, OnPositions, compiled_of_block

LOSSES = LossesConfig(
    cross_entropy=CrossEntropyConfig(label_smoothing=0.1),
    forward_kl=ForwardKLConfig(temperature="4 -> 1.5"),
    reverse_kl=ReverseKLConfig(),
    taid=TAIDConfig(),
)
K = 131


def signal(scores: Scores | SparseScores, weights_Q: torch.Tensor | None = None) -> TeacherSignal:
    return TeacherSignal(
        name="t",
        outputs=ModelOutputs(hidden_PD=torch.zeros(0, 0), scores=scores),
        batch=idle_batch(pad_id=0),
        positions_Q=None,
        weights_Q=weights_Q,
    )


def sums_and_gradient(step: int, compiled: OfBlock | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return those of a step, whose positions, weights and progress are its own."""
    generator = torch.Generator().manual_seed(step)
    num_positions = 17 + 6 * step
    student_PK, *teachers = 3 * torch.randn(3, num_positions, K, generator=generator)
    weights_Q = torch.rand(num_positions, generator=generator)
    terms = build_terms(LOSSES)
    sums_M = OnPositions(
        terms=terms,
        signals=[signal(DenseScores(logits_PK=each), weights_Q) for each in teachers],
        labels_P=torch.randint(K, (num_positions,), generator=generator),
        progress=0.2 + 0.3 * step,
        compiled=compiled,
    ).sums(
        student_PK,
        chosen=slice(num_positions),
        weights=[(0.3 + number) / (1 + step) for number in range(len(terms))],
        masked=False,
    )
    return sums_M, student_PK


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_terms_are_those_of_every_step_and_are_compiled_once() -> None:
    compiled = compiled_of_block()
    with torch.no_grad(), torch._dynamo.config.patch(error_on_recompile=True):
        for step in range(3):
            found, expected = sums_and_gradient(step, compiled), sums_and_gradient(step, None)
            for mine, theirs in zip(found, expected, strict=True):
                torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_what_a_teacher_says_of_some_classes_is_not_compiled() -> None:
    def compiled(*_: object, **__: object) -> list[list[torch.Tensor]]:
        pytest.fail("it was")

    scores = SparseScores(
        ids_PS=torch.zeros(2, 1, dtype=torch.int64),
        log_probs_PS=torch.full((2, 1), 0.5).log(),
        log_tail_P=torch.full((2,), 0.5).log(),
        num_classes=K,
    )
    terms = OnPositions(
        terms=build_terms(LossesConfig(forward_kl=ForwardKLConfig())),
        signals=[signal(scores)],
        labels_P=torch.zeros(2, dtype=torch.int64),
        progress=0.0,
        compiled=compiled,
    )
    sums_M = terms.sums(torch.zeros(2, K), chosen=slice(2), weights=[1.0], masked=False)
    assert sums_M.isfinite().all()
