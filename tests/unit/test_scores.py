"""Scores that are not held are those that are, chunk by chunk."""

import pytest
import torch
from raykd.scores import ALL, ProjectedScores, by_position, chunks


def test_values_by_position_are_those_of_all_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raykd.scores._LEAST_ROWS", 3)
    monkeypatch.setattr("raykd.scores._CHUNK_BYTES", 1)
    generator = torch.Generator().manual_seed(0)
    scores = ProjectedScores(
        features_PD=torch.randn(23, 8, generator=generator),
        weight_KD=torch.randn(301, 8, generator=generator),
    )
    labels_P = torch.arange(23)
    found_P2 = by_position(
        scores,
        lambda logits_CK, labels_C: torch.stack([logits_CK.sum(-1), labels_C], -1),
        labels_P,
    )
    assert len(list(chunks(scores, labels_P.device))) == 8
    expected_P2 = torch.stack([scores.logits(ALL).sum(-1), labels_P], -1)
    torch.testing.assert_close(found_P2, expected_P2)
