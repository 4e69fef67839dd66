"""Run files and overrides that cannot be: each is one message, and nothing is written."""

from pathlib import Path

import pytest

from tests.unit.bad_input.refusal import Bad, assert_refused, bad, rows
from tests.unit.bad_input.spoiling import written

_BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b\n"

_FILES = [
    bad("missing", "check no.yaml", "no.yaml: no such file", "configs/runs/*.yaml"),
    bad("directory", "check data", "data: is a directory", "raykd report", "raykd evaluate"),
    bad(
        "binary", "train x.yaml", "x.yaml: cannot be read", spoil=written("x.yaml", b"\xff\xfe\0")
    ),
    bad("nul", "train x.yaml", "x.yaml: cannot be read", spoil=written("x.yaml", b"a: \0\n")),
    bad(
        "latin",
        "train x.yaml",
        "x.yaml: ",
        "continuation byte",
        spoil=written("x.yaml", b"name: \xe9\n"),
    ),
    bad("list", "train x.yaml", "must hold a mapping", spoil=written("x.yaml", "- a\n")),
    bad("scalar", "train x.yaml", "must hold a mapping", spoil=written("x.yaml", "train\n")),
    bad("empty", "train x.yaml", "data is required", "6 problem(s)", spoil=written("x.yaml", "")),
    bad("unclosed", "train x.yaml", "x.yaml: ", "line 2", spoil=written("x.yaml", "a: [1\n")),
    bad("tab", "train x.yaml", "line 2, column 1", spoil=written("x.yaml", "a:\n\tb: 1\n")),
    bad(
        "twice", "train x.yaml", "line 2", '"name"', spoil=written("x.yaml", "name: a\nname: b\n")
    ),
    bad("bomb", "train x.yaml", "x.yaml: cannot be read", spoil=written("x.yaml", _BOMB)),
    bad(
        "two", "train x.yaml", "x.yaml: ", "document", spoil=written("x.yaml", "a: 1\n---\nb: 2\n")
    ),
    bad("alias", "train x.yaml", "x.yaml: ", "alias", spoil=written("x.yaml", "a: *b\n")),
    bad(
        "tag", "train x.yaml", "x.yaml: ", spoil=written("x.yaml", "a: !!python/object:os.x {}\n")
    ),
    bad(
        "date",
        "train x.yaml",
        "train: expected section",
        spoil=written("x.yaml", "train: 2020-01-01\n"),
    ),
    bad(
        "is-sweep",
        "train sweep.yaml train.seed=2",
        "sweep.yaml: is a sweep, not a run",
        "raykd sweep sweep.yaml train.seed=2 runs it",
    ),
    bad("cache-sweep", "cache sweep.yaml", "is a sweep, not a run: it has 'base:' and 'search:'"),
    bad(
        "environment",
        "check run.yaml 'data.uri=${oc.env:HOME}'",
        "data.uri: ${...}",
        "got '${oc.env",
    ),
    bad("reference", "check run.yaml 'name=${task}'", "name: ${...} is not replaced"),
    bad(
        "infinite",
        "check run.yaml optimizer.learning_rate=.inf",
        "must be a finite number, got inf",
    ),
    bad(
        "nan", "check run.yaml optimizer.weight_decay=.nan", "weight_decay must be a finite number"
    ),
]

_OVERRIDES = [
    bad("no-value", "check run.yaml train.seed", "'train.seed' must have the form key=value"),
    bad("no-key", "check run.yaml =3", "override '=3' must have the form key=value"),
    bad("dots", "check run.yaml train..seed=3", "'train..seed=3' must have the form key=value"),
    bad("end-dot", "check run.yaml train.=3", "'train.=3' must have the form key=value"),
    bad(
        "no-yaml",
        "check run.yaml 'name=[a'",
        "override 'name=[a': the value is no YAML",
        "quote it",
    ),
    bad("unknown", "check run.yaml traim.seed=3", "traim: no such key; did you mean train?"),
    bad(
        "close", "check run.yaml train.sead=3", "train.sead: no such key; did you mean train.seed?"
    ),
    bad("scalar-parent", "check run.yaml name.x=3", "name: expected str, got {'x': 3}"),
    bad(
        "through-list",
        "check run.yaml 'data.languages=[de]' data.languages.0=x",
        "languages is a list; give it whole",
    ),
    bad("null", "check run.yaml train=null", "train"),
    bad(
        "bool",
        "check run.yaml train.num_steps=true",
        "train.num_steps: expected int | null, got True",
    ),
    bad("float", "check run.yaml train.seed=1.5", "train.seed: expected int, got 1.5"),
    bad("text", "check run.yaml train.seed=many", "train.seed: expected int, got 'many'"),
    bad(
        "huge", "check run.yaml train.seed=99999999999999999999", "train.seed must be in [0, 2^31)"
    ),
    bad(
        "literal",
        "check run.yaml task=translate",
        "task: expected masked_lm | causal_lm",
        "'translate'",
    ),
]

_RANGES = [
    bad(f"{key}={value}", f"check run.yaml '{key}={value}'", key, needle)
    for key, value, needle in (
        ("name", "a/b", "must consist of letters, digits"),
        ("name", "../a", "got '../a'"),
        ("train.num_steps", "0", "must be >= 1, got 0"),
        ("train.global_batch_size", "-1", "must be >= 1, got -1"),
        ("train.micro_batch_size", "0", "must be >= 1, got 0"),
        ("train.log_every_steps", "0", "must be >= 1, got 0"),
        ("train.eval_every_steps", "0", "must be >= 1, got 0"),
        ("train.seed", "-1", "must be in [0, 2^31), got -1"),
        ("train.loss_spike_factor", "1", "must be > 1, got 1"),
        ("optimizer.learning_rate", "0", "must be > 0, got 0"),
        ("optimizer.epsilon", "-1", "must be > 0, got -1"),
        ("optimizer.max_grad_norm", "0", "must be > 0, got 0"),
        ("optimizer.weight_decay", "-0.1", "must be >= 0, got -0.1"),
        ("optimizer.warmup_fraction", "1", "must be in [0, 1), got 1"),
        ("optimizer.beta1", "1", "must be in [0, 1), got 1"),
        ("optimizer.beta2", "-1", "must be in [0, 1), got -1"),
        ("checkpoint.every_steps", "0", "must be >= 1, got 0"),
        ("checkpoint.keep_last", "0", "must be >= 1, got 0"),
        ("checkpoint.milestones", "[0.5, 2]", "must be in (0, 1], got [0.5, 2.0]"),
        ("cluster.num_workers", "-1", "must be >= 0, got -1"),
        ("cluster.gpus_per_worker", "-1", "must be >= 0, got -1"),
        ("cluster.cpus_per_worker", "0", "must be > 0, got 0"),
        ("cluster.max_failures", "-2", "got -2"),
        ("data.num_lanes", "0", "must be >= 1, got 0"),
        ("data.shuffle_window", "0", "must be >= 1, got 0"),
        ("data.languages", "[]", "is empty: name at least one, or null for all"),
        ("data.masking.fraction", "15", "must be in (0, 1], got 15"),
        ("losses.cross_entropy.weight", "much", "is not a schedule: write '1'"),
        ("losses.cross_entropy.weight", "-1", "must be >= 0, got '-1'"),
        ("student.architecture.dropout", "1", "must be in [0, 1), got 1"),
        ("student.architecture.num_layers", "0", "must be >= 1, got 0"),
        ("tracking.wandb", '""', "is empty: give a value, or leave it out"),
    )
]

_CONTRADICTIONS = [
    bad(
        "both-lengths",
        "check run.yaml train.num_epochs=1",
        "exactly one of num_steps and num_epochs",
    ),
    bad("no-length", "check run.yaml train.num_steps=null", "got None and None"),
    bad(
        "both-students",
        "check run.yaml student.pretrained=x",
        "exactly one of pretrained and arch",
    ),
    bad("no-student", "check run.yaml student.architecture=null", "student needs exactly one"),
    bad("no-loss", "check run.yaml losses.cross_entropy=null", "losses is empty: add a section"),
    bad(
        "loss-alone",
        "check run.yaml losses.forward_kl={}",
        "losses.forward_kl needs a teacher: name one",
    ),
    bad(
        "weights-alone",
        "check run.yaml teacher_weights.uniform={}",
        "teacher_weights needs teachers",
    ),
    bad("two-inits", "check kd.yaml 'student.init={remap: {}, ligo: {}}'", "got remap and ligo"),
    bad("init-alone", "check run.yaml student.init.remap={}", "student.init.remap.source is null"),
    bad("two-mixings", "check run.yaml 'data.mixing={}'", "exactly one of temperature, fixed"),
    bad(
        "no-evaluation",
        "check run.yaml data.eval_split=null train.eval_first=true",
        "train.eval_first is true, but data.eval_split is null",
    ),
    bad("lanes", "check run.yaml cluster.num_workers=9", "(9) must be at most data.num_lanes (2)"),
    bad("heads", "check run.yaml student.projections=per_language", "needs a classification task"),
    bad(
        "fixed",
        "check kd.yaml 'teacher_weights.fixed.weights={a: 1}'",
        "must name the teachers ['big']",
    ),
    bad(
        "unknown-teacher",
        "check kd.yaml 'losses.hidden_states.teacher=small'",
        "losses.hidden_states.teacher is 'small', but the teachers are ['big']",
    ),
    bad(
        "schedule",
        "check kd.yaml 'losses.forward_kl.weight=1 @ 0.9 -> 0 @ 0.1'",
        "must rise from 0 to 1",
    ),
    bad(
        "cold", "check kd.yaml losses.forward_kl.temperature=0", "temperature must be > 0, got '0'"
    ),
    bad(
        "several",
        "check run.yaml train.seed=-1 data.num_lanes=0",
        "2 problem(s)",
        "seed",
        "num_lanes",
    ),
]


@rows([*_FILES, *_OVERRIDES, *_RANGES, *_CONTRADICTIONS])
def test_a_run_that_cannot_be_is_one_message(
    row: Bad, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(row, place=place, capsys=capsys)
