"""A plan says beforehand what a cache will weigh and change, and auto follows it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.ipc
import pytest
import torch
from raykd.scores import DenseScores, ProjectedScores
from raykd.teachers.cache.encodings import encoding_for
from raykd.teachers.cache.fidelity import difference, frequencies, gradient
from raykd.teachers.cache.payload import Payload
from raykd.teachers.cache.planner import ModePlan, cheapest, planned_modes

from tests.unit.cached_teachers.caches import subject

WAYS = [
    Payload(mode="logits", precision="exact"),
    Payload(mode="hidden", precision="exact"),
    Payload(mode="hidden", precision="float16"),
    Payload(mode="hidden", precision="int8"),
    Payload(mode="top_k", size=8),
    Payload(mode="top_k", size=32),
    Payload(mode="sampled", size=16),
]


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModePlan]:
    of = subject(tmp_path_factory.mktemp("plans") / "data", "causal_lm")
    found = planned_modes(of.runner, of.coverages(), WAYS, temperatures=(1.0, 2.0))
    return {str(plan.payload): plan for plan in found}


def test_exact_ways_change_nothing_and_the_others_are_in_their_order(
    plans: dict[str, ModePlan],
) -> None:
    for name in ("logits exact", "hidden exact"):
        assert plans[name].gradient_error < 1e-6
        assert plans[name].kl_error == pytest.approx(0, abs=1e-5)
        assert plans[name].captured_mass == 1
    errors = [
        plans[name].gradient_error
        for name in ("hidden exact", "hidden float16", "hidden int8", "top_k 32", "top_k 8")
    ]
    assert errors == sorted(errors)
    assert 0 < plans["top_k 8"].captured_mass < plans["top_k 32"].captured_mass < 1


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_weight_that_is_told_is_that_of_the_files(
    tmp_path: Path, plans: dict[str, ModePlan], way: Payload
) -> None:
    of = subject(tmp_path / "data", "causal_lm")
    of.build(str(tmp_path / "cache"), way)
    found = 0
    for file in (tmp_path / "cache" / "records").rglob("*.arrow"):
        with pa.OSFile(str(file)) as source:
            num_bytes = pa.ipc.open_file(source).get_batch(0).nbytes
        found += num_bytes
        # Names and types of the columns, however many rows there are.
        assert file.stat().st_size - num_bytes < 4_096
    assert plans[str(way)].num_bytes == pytest.approx(found, rel=0.1)


def test_auto_takes_the_smallest_that_is_near_enough(plans: dict[str, ModePlan]) -> None:
    some = list(plans.values())
    assert str(cheapest(some, max_gradient_error=1e-6).payload) == "hidden exact"
    assert str(cheapest(some, max_gradient_error=0.9).payload) == "hidden int8"
    sparse = [plan for plan in some if plan.payload.mode in ("top_k", "sampled")]
    best = cheapest(sparse, max_gradient_error=1e-9)
    assert best.gradient_error == min(plan.gradient_error for plan in sparse)


def test_the_gradient_is_that_of_a_student_with_the_same_features() -> None:
    torch.manual_seed(0)
    features_PD, weight_KD = torch.randn(40, 64), torch.randn(30, 64) / 8
    exact = ProjectedScores(features_PD=features_PD, weight_KD=weight_KD)
    rough = encoding_for(Payload(mode="hidden", precision="int8"), exact)
    found = rough.decode(
        rough.encode(exact, torch.zeros(40).numpy().astype("uint64")), torch.device("cpu")
    )
    student_K = frequencies([exact])
    # The student's scores are its bias so far; the gradient into its map is compared.
    map_KD = torch.zeros(30, 64, requires_grad=True)
    gradients = []
    for teacher in (exact, found):
        p_PK = teacher.logits().softmax(-1)
        student_PK = features_PD @ map_KD.T + student_K
        loss = -(p_PK * student_PK.log_softmax(-1)).sum()
        gradients.append(torch.autograd.grad(loss, map_KD)[0])
    expected = float((gradients[1] - gradients[0]).norm() / gradients[0].norm())
    error, angle = difference(
        gradient([exact], [exact], student_K, 1.0), gradient([exact], [found], student_K, 1.0)
    )
    # Random directions keep lengths to about one in the root of their number.
    assert error == pytest.approx(expected, rel=0.4)
    assert 0 < angle < 5


def test_of_classes_the_scores_themselves_are_compared() -> None:
    teacher = DenseScores(logits_PK=torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
    other = DenseScores(logits_PK=torch.tensor([[0.0, 1.0], [2.0, 0.5]]))
    student_K = frequencies([teacher])
    pair = (
        gradient([teacher], [teacher], student_K, 1.0),
        gradient([teacher], [other], student_K, 1.0),
    )
    p, q = teacher.logits().softmax(-1), student_K.softmax(-1)
    expected = (other.logits().softmax(-1) - p).norm() / (q - p).norm()
    assert difference(*pair)[0] == pytest.approx(float(expected), rel=1e-5)
