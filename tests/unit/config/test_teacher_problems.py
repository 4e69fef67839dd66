"""Teachers that cannot be asked, or do not have what a run wants of them, are refused."""

import pytest
from raykd.config.identity import run_id
from raykd.errors import ConfigError

from tests.unit.config.test_problems import run_with

CLASSES = "task=sequence_classification"
UNIGRAM = "teachers={none: {unigram: {}}}"
BOTH = "teachers={a: {model: x}, none: {unigram: {}}}"
TEACHERS = "teachers={a: {model: x}, b: {model: y, languages: [en]}}"


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


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            "teacher_weights={}",
            "teacher_weights needs exactly one of uniform, fixed, by_language, importance, "
            "max_margin, entropy, got []",
        ),
        (
            "teacher_weights={importance: {temperature: 0}}",
            "teacher_weights.importance.temperature must be > 0, got 0.0",
        ),
        (
            "teacher_weights={fixed: {weights: {a: 1}}}",
            "teacher_weights.fixed.weights must name the teachers ['a', 'b'], got ['a']",
        ),
        (
            "teacher_weights={fixed: {weights: {a: 0, b: 0}}}",
            "teacher_weights.fixed.weights must be >= 0 and not all 0, got {'a': 0.0, 'b': 0.0}",
        ),
        (
            "teacher_weights={by_language: {teachers: {en: c}}}",
            "teacher_weights.by_language.teachers names ['c'], but the teachers are ['a', 'b']",
        ),
        (
            "losses.hidden_states={}",
            "losses.hidden_states.teacher is null, but there are 2 teachers: name one of "
            "['a', 'b']",
        ),
        (
            "losses.hidden_states={teacher: c}",
            "losses.hidden_states.teacher is 'c', but the teachers are ['a', 'b']",
        ),
        (
            "losses.hidden_states={teacher: b}",
            "losses.hidden_states.teacher: b is not asked about every row, but layers are "
            "compared on all of them: give it all languages and a weight in each",
        ),
        (
            "losses.hidden_states={teacher: a, layers: []}",
            "losses.hidden_states.layers must be teacher's layers counted from 0, got []",
        ),
        (
            "losses.attention_relations={teacher: a, relations: []}",
            "losses.attention_relations.relations is empty: name at least one",
        ),
        (
            "losses.attention_relations={teacher: a, num_heads: 0}",
            "losses.attention_relations.num_heads must be >= 1, got 0",
        ),
        (
            "losses.attention_relations={teacher: a, layer: -1}",
            "losses.attention_relations.layer must be >= 0, got -1",
        ),
        (
            "losses.jensen_shannon={beta: 1}",
            "losses.jensen_shannon.beta must be between 0 and 1, got 1.0; at the ends it is "
            "zero: use forward_kl or reverse_kl",
        ),
        (
            "data.mixing={adaptive: {temperature: 0}}",
            "data.mixing.adaptive.temperature must be > 0, got 0.0",
        ),
        (
            "data.mixing={adaptive: {floor: 0}}",
            "data.mixing.adaptive.floor must be in (0, 1], got 0.0",
        ),
        ("losses.skewed_kl={skew: 1}", "losses.skewed_kl.skew must be in [0, 1), got 1.0"),
        ("losses.taid={mix: 0 -> 2}", "losses.taid.mix must be at most 1, got '0 -> 2'"),
        (
            "losses.reverse_kl={temperature: 0}",
            "losses.reverse_kl.temperature must be > 0, got '0'",
        ),
    ],
)
def test_teachers_and_losses_that_cannot_work(change: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        run_with(TEACHERS, change)
    assert str(error.value) == f"test: 1 problem(s)\n  - {problem}"


def test_what_follows_evaluations_needs_a_split_to_evaluate_on() -> None:
    with pytest.raises(ConfigError) as error:
        run_with(
            TEACHERS,
            "data.eval_split=null",
            "data.mixing={adaptive: {}}",
            "teacher_weights={importance: {per: language}}",
            "train.eval_first=true",
        )
    assert str(error.value) == (
        "test: 3 problem(s)\n"
        "  - data.mixing.adaptive follows evaluations, but data.eval_split is null\n"
        "  - teacher_weights.importance.per=language is measured on data.eval_split, which is "
        "null\n"
        "  - train.eval_first is true, but data.eval_split is null"
    )


def test_several_teachers_with_a_layer_loss_can_work() -> None:
    config = run_with(
        TEACHERS,
        "losses.hidden_states={teacher: a}",
        "teacher_weights={importance: {}}",
        "data.mixing={adaptive: {}}",
    )
    assert config.losses.teacher_terms == ["hidden_states"]
