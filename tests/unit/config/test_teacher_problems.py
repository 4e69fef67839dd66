"""Teachers that cannot be asked, or do not have what a run wants of them, are refused."""

import pytest
from raykd.config.identity import run_id
from raykd.errors import ConfigError

from tests.unit.config.test_problems import run_with

CLASSES = "task=sequence_classification"
UNIGRAM = "teachers={none: {unigram: {}}}"
BOTH = "teachers={a: {model: x}, none: {unigram: {}}}"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (("teachers={a: {}}",), "teachers.a needs exactly one of model and unigram"),
        (
            ("teachers={a: {model: x, unigram: {}}}",),
            "teachers.a needs exactly one of model and unigram",
        ),
        *[
            (
                (f"teachers={{a: {{unigram: {{}}, {key}: {value}}}}}",),
                f"teachers.a.{key} is of a model, and a unigram is none: leave it out",
            )
            for key, value in (("revision", "main"), ("dtype", "bfloat16"), ("cache", "{}"))
        ],
        (
            (CLASSES, "teachers={a: {model: x, permuted: -1}}"),
            "teachers.a.permuted must be >= 0 or null, got -1",
        ),
        (
            ("teachers={a: {model: x, permuted: 1}}",),
            "teachers.a.permuted is for classes, got task=masked_lm: take another wrong teacher, "
            "or null",
        ),
        (
            (UNIGRAM, "losses={hidden_states: {}}"),
            "losses.hidden_states.teacher: a unigram has no layers: name a model",
        ),
        (
            (BOTH, "losses.attention_scores.teacher=none"),
            "losses.attention_scores.teacher: a unigram has no layers: name a model",
        ),
        (
            (UNIGRAM, "student={architecture: {}}"),
            "student.architecture.model_type is null, but the first teacher, none, is a unigram: "
            "give it, or name a model first",
        ),
        *[
            (
                (UNIGRAM, f"student.init.copy_layers={{{source}}}"),
                "student.init.copy_layers.source: none is a unigram and has no weights: name a "
                "model",
            )
            for source in ("", "source: none")
        ],
        *[
            (
                (f"losses.cross_entropy.label_smoothing={value}",),
                f"losses.cross_entropy.label_smoothing must be in [0, 1), got {value}",
            )
            for value in (-0.1, 1.0)
        ],
    ],
)
def test_what_a_teacher_cannot_is_told(changes: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        run_with(*changes)
    assert str(error.value).splitlines()[1:] == [f"  - {problem}"]


def test_a_unigram_serves_every_task() -> None:
    losses = "losses={forward_kl: {}}"
    for task in ("masked_lm", "causal_lm", "sequence_classification", "token_classification"):
        assert run_with(f"task={task}", UNIGRAM, losses).teachers["none"].model is None


def test_what_controls_add_tells_runs_apart() -> None:
    losses, model = "losses={forward_kl: {}}", "teachers.none.model=x"
    runs = [
        run_with(CLASSES, losses, UNIGRAM),
        run_with(CLASSES, losses, UNIGRAM, "teachers.none.permuted=1"),
        run_with(CLASSES, losses, model),
        run_with(CLASSES, losses, model, "teachers.none.permuted=1"),
        run_with(CLASSES, losses, model, "teachers.none.permuted=2"),
        run_with(CLASSES, losses, model, "losses.cross_entropy.label_smoothing=0.1"),
    ]
    assert len({run_id(run) for run in runs}) == len(runs)
