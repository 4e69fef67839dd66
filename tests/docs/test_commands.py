"""Every raykd command line shown anywhere works: it parses, and what it names exists."""

import argparse
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from raykd.cli.main import build_parser, parse
from raykd.config.keys import key_docs
from raykd.config.kinds import is_sweep
from raykd.config.load import load_run, load_sweep, plain
from raykd.config.named_runs import named_runs
from raykd.config.schema.run import RunConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError
from raykd.jobs.submission import COMMANDS as SUBMITTED
from raykd.sweep.questions.contrast import contrasts_of

from tests.sweep_files import expanded, record_of

ROOT = Path(__file__).parents[2]
PLACES = [
    *("*.md", "docs/*.md", ".github/**/*.md", "configs/**/*.md", "configs/**/*.yaml", "cluster/*"),
    *("jobs/**/*.py", "jobs/**/*.sh", "raykd/cli/**/*.py"),
]

LINE = re.compile(r"""^(?:[-#$>\s]|f?["'])*(?:\S*bin/|python -m )?raykd +(?P<words>[a-z].*)$""")
"""A line of its own, perhaps behind a prompt, a comment sign or an opening quote."""

JOB = re.compile(r"ray job submit .*-- python jobs/(?P<command>\w+)\.py +(?P<words>.+)$")
"""A command of raykd as a job of Ray."""

INLINE = re.compile(r"`raykd +(?P<words>[a-z][^`]*)`")


def commands_in(text: str, *, is_markdown: bool = False) -> list[list[str]]:
    """Return the words after ``raykd`` of each command line in a text."""
    found = []
    is_code = not is_markdown
    for line in re.sub(r"\\\n\s*#?\s*", " ", text).splitlines():
        is_code ^= is_markdown and line.startswith("```")
        found += [match["words"] for match in INLINE.finditer(line)]
        if is_code and (match := LINE.match(line)):
            found.append(match["words"].removesuffix(",").removesuffix('"'))
        if is_code and (match := JOB.search(line)):
            found.append(f"{match['command']} {match['words']}")
    return [shlex.split(words, comments=True) for words in found]


@dataclass(frozen=True)
class Command:
    """A command line, and the file that shows it."""

    place: str
    words: list[str]

    def __str__(self) -> str:
        return f"{self.place}: {' '.join(self.words)}"


COMMANDS = [
    Command(str(path.relative_to(ROOT)), words)
    for pattern in PLACES
    for path in sorted(ROOT.glob(pattern))
    for words in commands_in(path.read_text(), is_markdown=path.suffix == ".md")
]
LINES = [command for command in COMMANDS if len(command.words) > 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raykd train x.yaml a=1", ["train", "x.yaml", "a=1"]),
        ("    $ raykd  check x.yaml  # says why", ["check", "x.yaml"]),
        ("#   .venv/bin/raykd explain losses", ["explain", "losses"]),
        ("# raykd train x.yaml \\\n#   a=1", ["train", "x.yaml", "a=1"]),
        ('        f"raykd evaluate {directory}",', ["evaluate", "{directory}"]),
        ("see `raykd explain losses` there", ["explain", "losses"]),
        ("X=1 ray job submit --working-dir . -- python jobs/cache.py a.yaml", ["cache", "a.yaml"]),
        ("python -m raykd check x.yaml 'a=[1, 2]'", ["check", "x.yaml", "a=[1, 2]"]),
    ],
)
def test_a_command_line_is_recognised(text: str, words: list[str]) -> None:
    assert commands_in(text) == [words]


@pytest.mark.parametrize("text", ["import raykd", "from raykd import x", "raykd: interrupted"])
def test_what_is_no_command_line_is_left_alone(text: str) -> None:
    assert commands_in(text) == []


def test_prose_in_markdown_is_no_command_line() -> None:
    text = "raykd runs studies, see `raykd explain`.\n```bash\nraykd check x.yaml\n```\nraykd ends"
    assert commands_in(text, is_markdown=True) == [["explain"], ["check", "x.yaml"]]


def test_commands_are_found_where_they_must_be() -> None:
    places = {command.place for command in LINES}
    assert {"README.md", "configs/runs/demo_student.yaml", "raykd/cli/main.py"} <= places
    shown = {command.words[0] for command in LINES}
    models = {"prepare", "cache", "train", "evaluate", "export"}
    others = {"submit", "check", "sweep", "report", "replay", "clean", "explain", "doctor"}
    assert shown == models | others
    assert {f"jobs/{name}.py" for name in SUBMITTED} <= places


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_named_command_exists(command: Command) -> None:
    assert f" {command.words[0]} " in build_parser().format_help()


@pytest.mark.parametrize("command", LINES, ids=str)
def test_a_command_line_parses_and_names_what_exists(command: Command) -> None:
    options = parse(command.words)
    load_named_file(options)
    require_named_key(options)


def load_named_file(options: argparse.Namespace) -> None:
    """Load the run or sweep with its overrides, unless a program fills in its name."""
    options = getattr(options, "parsed", options)
    named = str(getattr(options, "config", None) or getattr(options, "sweep", ""))
    if named.endswith(".yaml") and "{" not in named:
        path = ROOT / named
        if not is_sweep(path):
            load_run(path, options.overrides)
            return
        # Keys of runs are put among the sweep's overrides, for its runs to check.
        for key in load_sweep(path, options.overrides).overrides:
            require_key(key, RunConfig)


def require_named_key(options: argparse.Namespace) -> None:
    if key := getattr(options, "key", None):
        require_key(key, SweepConfig if options.sweep else RunConfig)


def require_key(key: str, schema: type[RunConfig | SweepConfig]) -> None:
    docs = key_docs(schema)  # type: ignore[arg-type]  # a class is hashable
    assert any(doc.begins_with(key.split(".")) for doc in docs), key


@pytest.mark.parametrize(
    "words",
    [
        ["report", "configs/sweeps/demo.yaml", "seedz=[1]"],
        ["sweep", "configs/sweeps/none.yaml"],
        ["check", "configs/sweeps/demo.yaml", "search=1"],
    ],
)
def test_a_command_line_that_names_what_is_not_there_would_be_found(words: list[str]) -> None:
    with pytest.raises((ConfigError, AssertionError)):
        load_named_file(parse(words))


def test_the_run_names_in_the_readme_are_those_of_its_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    shown = set(re.findall(r"runs/(demo-[a-z]+)-[0-9a-f]{8}\b", readme))
    expected = {
        load_run(ROOT / options.config, options.overrides).name
        for command in LINES
        if command.place == "README.md" and command.words[0] == "train"
        for options in [parse(command.words)]
    }
    assert shown == expected


@pytest.mark.parametrize("page", ["README.md", "docs/studies.md"])
def test_the_study_of_a_page_is_one_and_its_questions_can_be_asked(
    page: str, tmp_path: Path
) -> None:
    (study,) = [block for block in yaml_blocks(page) if "\nbase: " in block]
    (tmp_path / "study.yaml").write_text(study)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    sweep = load_sweep(tmp_path / "study.yaml")
    named = named_runs(sweep).values()
    for run in named:
        load_run(Path(run.path))
    changed = [key for values in sweep.pairs.values() for keys in values.values() for key in keys]
    tuned = [] if sweep.tune is None else sweep.tune.values
    for key in [*sweep.search, *changed, *tuned, *(key for run in named for key in run.changes)]:
        require_key(key, RunConfig)
    assert why_not_asked(sweep) == []


def test_the_questions_that_a_page_asks_of_a_shipped_study_can_be_asked(tmp_path: Path) -> None:
    (questions,) = [b for b in yaml_blocks("docs/studies.md") if b.startswith("questions:")]
    shipped, _, _ = (ROOT / "configs/sweeps/weak_teacher.yaml").read_text().partition("questions:")
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "runs").symlink_to(ROOT / "configs/runs")
    (tmp_path / "sweeps/study.yaml").write_text(shipped + questions)
    assert why_not_asked(load_sweep(tmp_path / "sweeps/study.yaml")) == []


def yaml_blocks(page: str) -> list[str]:
    return re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def why_not_asked(sweep: SweepConfig) -> list[str]:
    """Return what is wrong with the questions of a sweep; of one seed, which shows every arm."""
    assert sweep.questions
    _, trials = expanded(replace(sweep, seeds=(), more_seeds=()))
    return contrasts_of(plain(sweep), map(record_of, trials))[1]
