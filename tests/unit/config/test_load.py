"""From a file and overrides to a checked run, or to every reason why not."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from raykd.config.keys import key_docs
from raykd.config.load import load_run, plain
from raykd.config.schema.run import RunConfig
from raykd.errors import ConfigError

MINIMAL = """\
name: small
task: masked_lm
data: {uri: data/x}
student: {architecture: {model_type: bert}}
losses: {cross_entropy: {}}
train: {num_steps: 5}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "run.yaml"
    file.write_text(MINIMAL)
    return file


def reasons(path: Path, *overrides: str) -> list[str]:
    """Return what is wrong with a run, line by line, without the heading."""
    with pytest.raises(ConfigError) as error:
        load_run(path, overrides)
    heading, *lines = str(error.value).splitlines()
    assert heading == f"{path}: {len(lines)} problem(s)"
    return [line.removeprefix("  - ") for line in lines]


def value_of(run: RunConfig, key: str) -> Any:
    value: Any = plain(run)
    for part in key.split("."):
        value = value[part]
    return value


# Overrides


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("optimizer.learning_rate=3e-5", 3e-5),
        ("optimizer.learning_rate=1", 1.0),
        ("train.num_steps=20_000", 20_000),
        ("train.num_steps='7'", 7),
        ("checkpoint.keep_best=false", False),
        ("name=2024-01-01", "2024-01-01"),
        ("name=5", "5"),
        *[(f"data.uri={name}", name) for name in ("007", "0x1f", "1_000", "true")],
        ("data.uri=s3://bucket/a=b", "s3://bucket/a=b"),
        *[
            (f"data.uri={uri}", uri)
            for uri in (
                "data #2",
                "data: 2",
                "s3://bucket/layers=[2,4]",
                "*.d",
                "&d",
                "!d",
                "%d",
                "@d",
                "`d`",
                "- d",
                "? d",
                "| d",
                "C:\\data\\x",
                "d, e",
                "data]",
                "=d",
                "<<",
                "it's \"so\"",
                "~/data",
                " d ",
                "数据/\u00a0d",
            )
        ],
        ("data.uri='~'", "~"),
        ("data.uri=\"a\\tb\"", "a\tb"),
        ("data.uri='a # b'", "a # b"),
        ("train.seed= 3 ", 3),
        ("name='null'", "null"),
        ("data.eval_split=~", None),
        ("data.train_split=no", "no"),
        ("data.eval_split=null", None),
        ("data.eval_split=", None),
        ("data.languages=[no, en]", ["no", "en"]),
        ("data.languages=null", None),
        ("checkpoint.milestones=[0.5, 1]", [0.5, 1.0]),
        ("losses.cross_entropy.weight=0.5", "0.5"),
        ("losses.cross_entropy.weight=4 -> 1", "4 -> 1"),
        ("losses.cross_entropy.weight=4 @ 0.5 ~> 1", "4 @ 0.5 ~> 1"),
        (
            "teachers={a: {model: x}}",
            {
                "a": {
                    "model": "x",
                    "unigram": None,
                    "revision": None,
                    "dtype": "float32",
                    "languages": None,
                    "cache": None,
                    "permuted": None,
                }
            },
        ),
        ("data.mixing.fixed.weights.no=2", 2.0),
        ("student.architecture.settings.layer_norm_eps=1e-5", 1e-5),
        ("student.architecture.settings.use_cache=true", True),
        ("teachers.small.model=runs/x", "runs/x"),
    ],
)  # fmt: skip
def test_an_override_replaces_one_value(path: Path, override: str, value: object) -> None:
    found = value_of(load_run(path, [override]), override.partition("=")[0])
    assert (found, type(found)) == (value, type(value))


def test_the_later_override_wins(path: Path) -> None:
    run = load_run(path, ["train.seed=1", "train={num_steps: 2}", "train.seed=3"])
    assert (run.train.seed, run.train.num_steps) == (3, 2)


def test_an_override_switches_sections_on_and_off(path: Path) -> None:
    run = load_run(path, ["losses.logit_mse.weight=2", "teachers.a.model=x"])
    assert run.losses.logit_mse is not None
    assert run.losses.logit_mse.weight == "2"
    run = load_run(path, ["losses.logit_mse={}", "losses.logit_mse=null", "teachers.a.model=x"])
    assert run.losses.logit_mse is None


def test_a_section_that_replaces_another_inherits_nothing(path: Path) -> None:
    run = load_run(path, ["student={pretrained: x}"])
    assert run.student.architecture is None


def test_overriding_one_of_two_aliases_leaves_the_other(path: Path) -> None:
    path.write_text(
        MINIMAL.replace("{cross_entropy: {}}", "{cross_entropy: &x {weight: 1}, logit_mse: *x}")
    )
    losses = load_run(path, ["losses.logit_mse.weight=2", "teachers.a.model=x"]).losses
    assert losses.cross_entropy is not None
    assert losses.cross_entropy.weight == "1"


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("train.seed", "must have the form key=value, such as train.seed=3"),
        ("=3", "must have the form key=value"),
        ("train..seed=3", "must have the form key=value"),
        ("data.uri=[a", r"the value is no YAML: line 1, column 3: expected ',' or '\]'"),
        ("data.uri='a", r"the value is no YAML: .*; quote it, as in \"data\.uri='\.\.\.'\""),
        (
            "data.uri='a' # b",
            r"the value is no YAML: '# b' follows the end of the value; quote it",
        ),
        ("data.languages=[a] #b", r"'#b' follows the end of the value"),
        ("data.uri=[2,4]/data", "the value is no YAML"),
        ('data.uri="C:\\data"', "the value is no YAML: .*unknown escape"),
        ("data.uri=a\nb", r"the character '\\n' is not allowed"),
        ("data.uri=\udcff", "is not allowed"),
        ("data.mixing={temperature: {}, temperature: {}}", 'found duplicate key "temperature"'),
        ("data.languages.0=en", "languages is a list; give it whole"),
    ],
)
def test_an_override_that_cannot_be_applied_is_shown(
    path: Path, override: str, reason: str
) -> None:
    path.write_text(MINIMAL.replace("uri: data/x", "uri: data/x, languages: [de]"))
    with pytest.raises(ConfigError, match=reason) as error:
        load_run(path, [override])
    assert str(error.value).startswith(f"override {override!r}")


# Keys and types


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("lossez=1", "lossez: no such key; did you mean losses?"),
        ("train.sed=1", "train.sed: no such key; did you mean train.seed?"),
        (
            "learning_rate=1",
            "learning_rate: no such key; did you mean student.init.ligo.learning_rate or "
            "optimizer.learning_rate?",
        ),
        ("zzz={a: {b: 1}, c: 2}", "zzz: no such key; raykd explain lists all keys"),
        ("train.num_steps=2.5", "train.num_steps: expected int | null, got 2.5"),
        ("train.num_steps=true", "train.num_steps: expected int | null, got True"),
        ("train.num_steps=inf", "train.num_steps: expected int | null, got 'inf'"),
        ("train.seed=null", "train.seed: expected int, got null"),
        ("optimizer.learning_rate=fast", "optimizer.learning_rate: expected float, got 'fast'"),
        ("checkpoint.keep_best=maybe", "checkpoint.keep_best: expected bool, got 'maybe'"),
        ("data.uri=", "data.uri: expected str, got null"),
        ("data.uri={a: 1}", "data.uri: expected str, got {'a': 1}"),
        ("data.uri=???", "data.uri is required"),
        ("data.languages=en", "data.languages: expected list of str | null, got 'en'"),
        ("data.languages=[[en]]", "data.languages: expected list of str | null, got [['en']]"),
        ("checkpoint.milestones=[x]", "checkpoint.milestones: expected list of float, got ['x']"),
        ("optimizer=3", "optimizer: expected section, got 3"),
        ("losses=null", "losses: expected section, got null"),
        ("teachers=null", "teachers: expected mapping to section, got null"),
        ("teachers.a=x", "teachers.a: expected section, got 'x'"),
        ("teachers.a={}", "teachers.a needs exactly one of model and unigram"),
        ("train.precision=fp8", "train.precision: expected float32 | bfloat16, got 'fp8'"),
        (
            "student.architecture.settings.x=[1]",
            "student.architecture.settings.x: expected int | float | bool | str, got [1]",
        ),
        (
            "data.mixing.fixed.weights.de={a: 1}",
            "data.mixing.fixed.weights.de: expected float, got {'a': 1}",
        ),
        ("optimizer.epsilon=.nan", "optimizer.epsilon must be a finite number, got nan"),
        ("optimizer.epsilon=.inf", "optimizer.epsilon must be a finite number, got inf"),
        (
            "data.uri=${oc.env:HOME}",
            "data.uri: ${...} is not replaced, write the value itself; got '${oc.env:HOME}'",
        ),
    ],
)  # fmt: skip
def test_a_wrong_key_or_type_is_one_clear_line(path: Path, override: str, reason: str) -> None:
    assert reasons(path, override) == [reason]


def test_every_wrong_key_is_reported_at_once(path: Path) -> None:
    path.write_text(
        "nam: x\ntrain: {num_steps: many, sed: 3}\nlosses: {cross: {a: {b: 1}}}\ntask: 3\n"
    )
    assert reasons(path) == [
        "nam: no such key; did you mean name?",
        "train.num_steps: expected int | null, got 'many'",
        "train.sed: no such key; did you mean train.seed?",
        "losses.cross: no such key; did you mean losses.cross_entropy?",
        "task: expected masked_lm | causal_lm | sequence_classification | token_classification, "
        "got 3",
        "data is required",
        "name is required",
        "student is required",
    ]


def test_every_contradiction_is_reported_at_once(path: Path) -> None:
    found = reasons(
        path,
        "name=a/b",
        "train.seed=-1",
        "optimizer.beta1=1",
        "losses={}",
        "cluster.num_workers=17",
    )
    assert [line.split()[0] for line in found] == [
        "name",
        "losses",
        "train.seed",
        "optimizer.beta1",
        "cluster.num_workers",
    ]


# Files


def test_a_file_without_keys_lacks_every_required_one(path: Path) -> None:
    path.write_text("# nothing yet\n")
    required = ["data", "losses", "name", "student", "task", "train"]
    assert reasons(path) == [f"{key} is required" for key in required]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"- a\n- b\n", "must hold a mapping of keys such as 'name:' and 'data:'"),
        (b"just text", "must hold a mapping"),
        (b"a: [1,\nb: 2\n", "cannot be read as YAML: line 3, column 1: expected"),
        (b"name: a\nname: b\n", "cannot be read as YAML: line 2, column 1: found duplicate key"),
        (b"\x80\x81\xff\x00", "cannot be read as YAML: .*invalid start byte"),
        (b"PK\x03\x04", "cannot be read as YAML: .*special characters are not allowed"),
    ],
)
def test_a_file_that_is_no_run_is_named(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=reason) as error:
        load_run(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"none\.yaml: no such file; a run is a YAML file such as"
    ):
        load_run(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="is a directory; give the YAML file"):
        load_run(tmp_path)


# Anything at all

KEYS = st.sampled_from([doc.key.replace("<name>", "a") for doc in key_docs()])
VALUES = st.sampled_from(
    [
        *(
            "null",
            "true",
            "no",
            "0",
            "-1",
            "0.5",
            ".nan",
            "1e999",
            "9" * 400,
            "9" * 5_000,
            "4 -> 1",
        ),
        *("[]", "{}", "[1]", "[a, b]", "[[1]]", "[null]", "[???]", "[{a: 1}]", "{a: {b: 1}}"),
        *(
            "{1: 2}",
            "{null: 1}",
            "{[a]: 1}",
            "{a.b: {model: x}}",
            "{'': {model: x}}",
            "???",
            "${x}",
        ),
        *(
            "'x",
            "*a",
            "&a [*a]",
            "!!set {a}",
            "!!binary aGk=",
            "!!bool x",
            "- a",
            "|\n a",
            "<<: 1",
        ),
    ]
)


@given(
    overrides=st.lists(
        st.builds(
            "{}={}".format,
            KEYS | KEYS.map("{}.x".format) | st.text(max_size=6),
            VALUES | st.text(max_size=6),
        )
        | st.text(max_size=6),
        max_size=4,
    )
)
@example(overrides=["[=3"])
@example(overrides=["data.languages[0]=x"])
@example(overrides=["data.mixing.fixed.weights.a.x=null"])
@example(overrides=["student.init.copy_layers.layers=[{a: 1}]"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_overrides_make_a_run_or_a_clear_error(path: Path, overrides: list[str]) -> None:
    with suppress(ConfigError):
        assert load_run(path, overrides).problems() == []


def test_bad_keys_do_not_hide_contradictions(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_run(path, ["train.sed=3", "optimizer.epsilon=0"])
    assert "train.sed: no such key; did you mean train.seed?" in str(caught.value)
    assert "optimizer.epsilon must be > 0, got 0.0" in str(caught.value)
