"""raykd explain shows what is known of the keys that were asked for."""

import pytest
from raykd.cli.commands.explain import explanation
from raykd.cli.main import main
from raykd.config.keys import KeyDoc, key_docs
from raykd.config.schema.sweep import SweepConfig


def explained(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["explain", *arguments]) == 0
    return capsys.readouterr().out


def shown_keys(text: str) -> list[str]:
    return [line.partition("  (")[0] for line in text.splitlines() if not line.startswith(" ")]


def test_without_a_key_every_key_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown_keys(explained(capsys)) == [doc.key for doc in key_docs()]


def test_a_key_is_shown_with_type_default_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert explained(capsys, "losses.forward_kl.temperature") == (
        "losses.forward_kl.temperature  (str, default 1)\n"
        "    Divides both models' logits, higher is softer: a number or a schedule.\n"
    )
    assert explained(capsys, "data.uri").startswith("data.uri  (str, required)\n    Directory ")


def test_a_section_is_shown_before_all_that_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown_keys(explained(capsys, "losses.forward_kl")) == [
        "losses.forward_kl",
        "losses.forward_kl.weight",
        "losses.forward_kl.temperature",
        "losses.forward_kl.scale_by_temperature_squared",
    ]


TEACHER_KEYS = ("model", "unigram", "revision", "dtype", "languages")
CACHE_KEYS = ("mode", "precision", "top_k", "num_draws", "max_gradient_error", "uri")


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        ("teachers.small.model", ["teachers.<name>.model"]),
        (
            "teachers.small",
            [
                "teachers.<name>",
                *(f"teachers.<name>.{k}" for k in TEACHER_KEYS),
                "teachers.<name>.cache",
                *(f"teachers.<name>.cache.{k}" for k in CACHE_KEYS),
                "teachers.<name>.permuted",
            ],
        ),
        ("student.architecture.settings.x", ["student.architecture.settings.<name>"]),
        ("data.mixing.fixed.weights.de", ["data.mixing.fixed.weights.<name>"]),
    ],
)
def test_names_that_the_user_gives_are_understood(
    typed: str, keys: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown_keys(explained(capsys, typed)) == keys


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("lossez", "did you mean losses?"),
        ("train.num_step", "did you mean train.num_steps?"),
        (
            "learning_rate",
            "did you mean student.init.ligo.learning_rate or optimizer.learning_rate?",
        ),
        ("train.seed.x", "did you mean train.seed?"),
        ("qqqq", "raykd explain lists all keys"),
        ("data..uri", "did you mean data.uri?"),
    ],
)
def test_an_unknown_key_ends_with_2_and_advice(
    typed: str, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", typed]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"raykd: {typed}: no such key; {advice}\n"


def test_every_key_of_a_sweep_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    keys = shown_keys(explained(capsys, "--sweep"))
    assert keys == [doc.key for doc in key_docs(SweepConfig)]
    assert {"base", "search.<name>.grid", "scheduler.asha.first_rung"} <= set(keys)


def test_a_section_of_a_sweep_is_shown_with_what_is_in_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = explained(capsys, "teachers.small.milestones", "--sweep")
    assert text.startswith("teachers.<name>.milestones  (list of float, default [1.0])\n    Frac")
    keys = shown_keys(explained(capsys, "--sweep", "scheduler"))
    assert keys[:2] == ["scheduler", "scheduler.asha"]
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["--sweep", "searchr"], "did you mean searcher?"),
        (
            ["--sweep", "milestones"],
            "did you mean stages.<name>.milestones or teachers.<name>.milestones?",
        ),
        (["--sweep", "losses"], "it belongs to a run: raykd explain losses"),
        (["searcher"], "it belongs to a sweep: raykd explain --sweep searcher"),
        (
            ["teachers.small.run"],
            "it belongs to a sweep: raykd explain --sweep teachers.small.run",
        ),
    ],
)
def test_an_unknown_key_is_looked_for_in_both_kinds_of_files(
    arguments: list[str], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *arguments]) == 2
    assert capsys.readouterr().err == f"raykd: {arguments[-1]}: no such key; {advice}\n"


def test_long_texts_are_wrapped_and_indented() -> None:
    doc = KeyDoc(
        parts=("a", "b"), type_name="int", default=None, text="word\n\n" * 50, is_section=False
    )
    heading, *lines = explanation(doc).splitlines()
    assert heading == "a.b  (int, required)"
    assert [word for line in lines for word in line.split()] == ["word"] * 50
    assert all(line.startswith("    word") and len(line) < 100 for line in lines)
