"""A ensemble asks each teacher about its languages only, and weights what they say."""

from collections.abc import Mapping
from functools import partial

import pytest
import torch
from raykd.batch import Batch, LayersWanted, ModelOutputs, idle_batch
from raykd.scores import DenseScores
from raykd.teachers.ensemble import PositionWeights, TeacherEnsemble, TeacherSignal, mean_margins
from raykd.teachers.live import Teacher
from raykd.teachers.weights import importance, margins

K = 5
ALL = [True, True, True]


def batch_of(languages: list[int], *, length: int = 4, seed: int = 0) -> Batch:
    """Return rows of a few languages with one to three scored positions each."""
    generator = torch.Generator().manual_seed(seed)
    scored = [
        row * length + place for row in range(len(languages)) for place in range(1 + row % 3)
    ]
    return Batch(
        input_ids_BL=torch.randint(9, (len(languages), length), generator=generator),
        attention_mask_BL=None,
        token_type_ids_BL=None,
        positions_P=torch.tensor(scored),
        labels_P=torch.randint(K, (len(scored),), generator=generator),
        languages_B=torch.tensor(languages),
        row_ids_B=torch.arange(len(languages)) + 100 * seed,
        epochs_B=torch.zeros(len(languages), dtype=torch.int64),
        num_tokens=len(languages) * length,
    )


class Asked:
    """A teacher whose scores depend on token and place alone; it notes what it is asked."""

    def __init__(self, seed: int) -> None:
        self.table_VK = 2 * torch.randn(9 * 4, K, generator=torch.Generator().manual_seed(seed))
        self.row_ids: list[list[int]] = []
        self.wanted: list[LayersWanted] = []

    def __call__(self, batch: Batch, wanted: LayersWanted) -> ModelOutputs:
        self.row_ids.append(batch.row_ids_B.tolist())
        self.wanted.append(wanted)
        tokens_P = batch.input_ids_BL.flatten()[batch.positions_P]
        logits_PK = self.table_VK[tokens_P * 4 + batch.positions_P % batch.input_ids_BL.shape[1]]
        return ModelOutputs(hidden_PD=logits_PK, scores=DenseScores(logits_PK=logits_PK))


def panel_of(
    teachers: Mapping[str, Teacher],
    shares: list[list[float]],
    *,
    serves: list[list[bool]] | None = None,
    weigh: PositionWeights | None = None,
) -> TeacherEnsemble:
    shares_NG = torch.tensor(shares, dtype=torch.float64)
    serves_NG = shares_NG > 0 if serves is None else torch.tensor(serves)
    return TeacherEnsemble(teachers, serves_NG=serves_NG, shares_NG=shares_NG, weigh=weigh)


def spread(signal: TeacherSignal, batch: Batch) -> torch.Tensor:
    """Return an signal's weights at all P positions, 0 where it is not asked."""
    weights_P = torch.zeros(len(batch.positions_P))
    asked = slice(None) if signal.positions_Q is None else signal.positions_Q
    weights_P[asked] = 1.0 if signal.weights_Q is None else signal.weights_Q
    return weights_P


def test_one_teacher_for_all_languages_has_the_whole_batch_and_no_weights() -> None:
    batch, teacher = batch_of([0, 2, 1]), Asked(0)
    (signal,) = panel_of({"a": teacher}, [[1, 1, 1]])(batch)
    assert signal.batch is batch
    assert signal.positions_Q is None
    assert signal.weights_Q is None
    assert torch.equal(signal.outputs.logits_PK, teacher(batch, LayersWanted()).logits_PK)


def test_a_teacher_runs_on_the_rows_of_its_languages_only() -> None:
    batch, a, b = batch_of([0, 2, 1, 0, 2]), Asked(0), Asked(1)
    signals = panel_of({"a": a, "b": b}, [[1, 0, 0], [0, 1, 1]])(batch)
    assert (a.row_ids, b.row_ids) == ([[0, 3]], [[1, 2, 4]])
    assert [signal.name for signal in signals] == ["a", "b"]
    languages_P = batch.languages_B[batch.examples_P]
    for signal, teacher in zip(signals, (a, b), strict=True):
        assert signal.positions_Q is not None
        alone = teacher(batch, LayersWanted()).logits_PK
        assert torch.equal(signal.outputs.logits_PK, alone[signal.positions_Q])
        assert torch.equal(signal.batch.labels_P, batch.labels_P[signal.positions_Q])
        assert signal.weights_Q is None
    assert torch.equal(spread(signals[0], batch) == 1, languages_P == 0)
    assert torch.equal(spread(signals[1], batch) == 1, languages_P != 0)


def test_shares_follow_the_language_of_each_position() -> None:
    batch = batch_of([0, 2, 1, 1])
    shares = [[1, 0.25, 0], [0, 0.75, 1]]
    signals = panel_of({"a": Asked(0), "b": Asked(1)}, shares)(batch)
    languages_P = batch.languages_B[batch.examples_P]
    for signal, shares_G in zip(signals, shares, strict=True):
        assert torch.equal(spread(signal, batch), torch.tensor(shares_G)[languages_P])


def test_a_teacher_without_rows_in_the_batch_does_not_run() -> None:
    batch, a, b = batch_of([0, 0]), Asked(0), Asked(1)
    signals = panel_of({"a": a, "b": b}, [[1, 0, 0], [0, 1, 1]])(batch)
    assert [signal.name for signal in signals] == ["a"]
    assert signals[0].batch is batch
    assert b.row_ids == []
    assert panel_of({"b": b}, [[0, 1, 1]])(batch) == ()


def test_layers_are_wanted_of_the_teacher_that_is_named() -> None:
    a, b = Asked(0), Asked(1)
    ensemble = panel_of({"a": a, "b": b}, [[0.5] * 3] * 2)
    ensemble(batch_of([0, 1]), {"b": LayersWanted(hidden=(2,))})
    assert a.wanted == [LayersWanted()]
    assert b.wanted == [LayersWanted(hidden=(2,))]


def test_positions_are_weighed_among_the_teachers_that_are_asked_there() -> None:
    batch = batch_of([0, 2, 1, 0, 1, 2] * 8)
    teachers = {"a": Asked(0), "b": Asked(1), "c": Asked(2)}
    serves = [[True, True, False], [False, True, False], ALL]
    weigh = PositionWeights(measure=margins, combine=partial(importance, temperature=0.3))
    shares = [[float(serves_language) for serves_language in row] for row in serves]
    signals = panel_of(teachers, shares, weigh=weigh)(batch)

    languages_P = batch.languages_B[batch.examples_P]
    margins_NP = torch.stack(
        [
            margins(teacher(batch, LayersWanted()).logits_PK, batch.labels_P)
            for teacher in teachers.values()
        ]
    )
    is_asked_NP = torch.tensor(serves)[:, languages_P]
    expected_NP = importance(margins_NP, is_asked_NP, temperature=0.3)
    found_NP = torch.stack([spread(signal, batch) for signal in signals])
    torch.testing.assert_close(found_NP, expected_NP)
    assert {0.0, 1.0} < set(found_NP.flatten().tolist())


def test_one_teacher_that_is_weighed_counts_where_it_is_right() -> None:
    batch, teacher = batch_of([0, 1, 2, 0, 1, 2]), Asked(0)
    weigh = PositionWeights(measure=margins, combine=partial(importance, temperature=0.3))
    (signal,) = panel_of({"a": teacher}, [[1, 1, 1]], weigh=weigh)(batch)
    is_right_P = signal.outputs.logits_PK.argmax(-1) == batch.labels_P
    assert 0 < is_right_P.sum() < len(is_right_P)
    assert torch.equal(spread(signal, batch), is_right_P.float())


def test_a_worker_without_rows_may_ask_too() -> None:
    weigh = PositionWeights(measure=margins, combine=partial(importance, temperature=0.3))
    for way in (None, weigh):
        ensemble = panel_of({"a": Asked(0), "b": Asked(1)}, [[0.5, 1, 1], [0.5, 0, 0]], weigh=way)
        signals = ensemble(idle_batch(pad_id=0))
        assert [len(signal.outputs.logits_PK) for signal in signals] == [0, 0]
        nobody = panel_of({"a": Asked(0)}, [[0, 1, 1]], weigh=way)
        assert nobody(idle_batch(pad_id=0)) == ()


def test_all_languages_that_a_teacher_serves_are_served_whatever_it_counts() -> None:
    batch, a, b = batch_of([0, 2, 1]), Asked(0), Asked(1)
    ensemble = panel_of(
        {"a": a, "b": b}, [[1, 0, 0], [0, 1, 1]], serves=[ALL, [False, False, True]]
    )
    signals = ensemble.served(batch)
    assert (a.row_ids, b.row_ids) == ([[0, 1, 2]], [[1]])
    assert [signal.weights_Q for signal in signals] == [None, None]


def test_mean_margins_are_those_of_all_positions_of_a_language() -> None:
    batches = [batch_of([0, 2, 0, 1], seed=seed) for seed in (0, 1)]
    teachers = {"a": Asked(0), "b": Asked(1)}
    serves_NG = torch.tensor([[True, True, True, True], [False, True, True, True]])
    found_NG = mean_margins(teachers, serves_NG, batches, total=lambda sums: sums)
    for index, teacher in enumerate(teachers.values()):
        seen: dict[int, list[float]] = {}
        for batch in batches:
            margins_P = margins(teacher(batch, LayersWanted()).logits_PK, batch.labels_P)
            languages_P = batch.languages_B[batch.examples_P]
            for language, margin in zip(languages_P.tolist(), margins_P.tolist(), strict=True):
                seen.setdefault(language, []).append(margin)
        expected = [sum(seen[g]) / len(seen[g]) if g in seen else 0.0 for g in range(4)]
        expected[0] *= serves_NG[index, 0].item()
        assert found_NG[index].tolist() == pytest.approx(expected, abs=1e-12)


def test_mean_margins_do_not_depend_on_who_has_which_rows() -> None:
    batches = [batch_of([0, 2, 0, 1], seed=seed) for seed in (0, 1)]
    teachers = {"a": Asked(0), "b": Asked(1)}
    serves_NG = torch.ones(2, 3, dtype=torch.bool)
    alone_NG = mean_margins(teachers, serves_NG, batches, total=lambda sums: sums)
    parts: list[torch.Tensor] = []

    def kept(sums: torch.Tensor) -> torch.Tensor:
        parts.append(sums)
        return sums

    for batch in batches:
        mean_margins(teachers, serves_NG, [batch], total=kept)
    together_NG = mean_margins(teachers, serves_NG, [], total=lambda sums: sums + sum(parts))
    torch.testing.assert_close(together_NG, alone_NG, rtol=1e-12, atol=0)
