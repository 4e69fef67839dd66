"""Teachers without knowledge say the same everywhere; permuted ones say it of other classes."""

import pytest
import torch
from raykd.batch import LayersWanted
from raykd.config.schema.run import TaskName
from raykd.scores import Chosen, chunks
from raykd.teachers.controls import PermutedTeacher, UnigramTeacher, derangement
from raykd.teachers.live import LiveTeacher

from tests.tiny_models import LABELS, VOCAB_SIZE, padded_batch, scored, tiny_model

TASK: TaskName = "sequence_classification"


@pytest.mark.parametrize("num_classes", [2, 3, 4, 5, 60, 257])
def test_no_class_keeps_its_place_whatever_the_seed(num_classes: int) -> None:
    for seed in range(20):
        order_K = derangement(num_classes, seed=seed)
        assert sorted(order_K.tolist()) == list(range(num_classes))
        assert not (order_K == torch.arange(num_classes)).any()
        assert torch.equal(order_K, derangement(num_classes, seed=seed))


def test_seeds_give_other_permutations() -> None:
    assert len({tuple(derangement(9, seed=seed).tolist()) for seed in range(20)}) == 20


def test_a_seed_gives_the_same_permutation_in_every_process() -> None:
    assert derangement(7, seed=5).tolist() == [1, 4, 3, 6, 2, 0, 5]


def test_a_unigram_holds_its_scores_once() -> None:
    log_probs_K = torch.randn(VOCAB_SIZE).log_softmax(0)
    batch = padded_batch("masked_lm")
    scores = UnigramTeacher(log_probs_K)(batch).scores
    assert scores.num_positions == len(batch.positions_P)
    some: list[Chosen] = [*chunks(scores, torch.device("cpu")), torch.tensor([2, 0])]
    for chosen in some:
        logits_CK = scores.logits(chosen)
        assert torch.equal(logits_CK, log_probs_K.expand(len(logits_CK), -1))
    assert scores.logits().untyped_storage().nbytes() == VOCAB_SIZE * 4


def test_a_unigram_has_no_layers() -> None:
    with pytest.raises(ValueError, match="layers are wanted of a unigram"):
        UnigramTeacher(torch.zeros(3))(padded_batch("masked_lm"), LayersWanted(hidden=(1,)))


def test_a_permuted_teacher_says_of_each_class_what_it_says_of_another() -> None:
    live = LiveTeacher(scored(tiny_model("bert", TASK), TASK))
    batch, wanted = padded_batch(TASK), LayersWanted(hidden=(1,))
    order_K = derangement(len(LABELS), seed=1)
    said, permuted = live(batch, wanted), PermutedTeacher(live, order_K)(batch, wanted)
    for index, other in enumerate(order_K.tolist()):
        assert torch.equal(permuted.logits_PK[:, index], said.logits_PK[:, other])
    assert torch.equal(permuted.hidden_states_TD[1], said.hidden_states_TD[1])
