"""The arguments of every command; the docstring of each function is the command's own --help.

A function of the name of a command declares what follows it. Where a command reads a file of the
user, ``load`` among the defaults of its parser reads it, before the libraries are loaded.
"""

import argparse
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from raykd.cli.debug import debug_option
from raykd.config.given import is_yaml, places_and_overrides
from raykd.config.kinds import is_sweep
from raykd.config.load import load_run, load_sweep
from raykd.config.schema.run import RunConfig, TaskName
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError
from raykd.jobs.submission import COMMANDS as SUBMITTED

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def add_command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    declare: Callable[[argparse.ArgumentParser], None],
    summary: str,
) -> None:
    """Add a command to those of a parser.

    Args:
        commands: The subparsers of the parser.
        declare: What declares its arguments, and has its name and its description.
        summary: What the list of commands says of it.
    """
    parser = commands.add_parser(
        declare.__name__,
        help=summary,
        description=inspect.getdoc(declare),
        parents=[debug_option()],
    )
    # The name of the module alone: it is imported when the command is chosen.
    parser.set_defaults(module=declare.__name__)
    declare(parser)


def check(parser: argparse.ArgumentParser) -> None:
    """Say what a run or sweep would do and what is wrong with it, without starting anything.

    Of a sweep also which differences its questions and arms can show with their seeds.
    """
    parser.set_defaults(load=_load_checked)
    parser.add_argument("config", type=Path, metavar="FILE.yaml", help="a run, or a sweep")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="replace one value; see raykd explain"
    )
    parser.add_argument(
        "--init",
        action="store_true",
        help="of a run: show where every tensor of the student comes from",
    )
    parser.add_argument(
        "--no-measure",
        action="store_true",
        help="of a sweep: do not time a few steps here to guess how long it takes",
    )


def _load_checked(options: argparse.Namespace) -> RunConfig | SweepConfig:
    path = options.config
    if is_sweep(path):
        if options.init:
            # Refused and not ignored: a flag that does nothing looks like an answer.
            message = f"{path}: is a sweep, --init is for runs; check its base with it"
            raise ConfigError(message)
        return load_sweep(path, options.overrides)
    if options.no_measure:
        message = f"{path}: is a run, --no-measure is for sweeps; leave it out"
        raise ConfigError(message)
    return load_run(path, options.overrides)


def cache(parser: argparse.ArgumentParser) -> None:
    """Compute what the teachers of a run say once, and keep it; runs do so themselves otherwise.

    The same command again goes on where it stands, or says that everything is there. With
    --address the workers of the run do it on a cluster, as they do when it is trained; else this
    process does.
    """
    _add_run(parser)
    parser.add_argument(
        "--plan",
        action="store_true",
        help="measure what each way to keep outputs costs and changes; write nothing",
    )
    parser.add_argument(
        "--address",
        metavar="HOST",
        help="Ray cluster, such as auto, where the run's workers do it; default: this process",
    )


def train(parser: argparse.ArgumentParser) -> None:
    """Train a model, from a teacher or alone. The same command again continues the run."""
    _add_run(parser)
    parser.add_argument(
        "--fresh", action="store_true", help="remove what this run has left, and start over"
    )
    parser.add_argument(
        "--address",
        default="local",
        metavar="HOST",
        help="Ray cluster to join, such as auto; default: a Ray of its own on this machine",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    """Declare a run file and its overrides."""
    parser.set_defaults(load=lambda options: load_run(options.config, options.overrides))
    parser.add_argument("config", type=Path, metavar="RUN.yaml", help="what to run")
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="replace one value; see raykd explain"
    )


def sweep(parser: argparse.ArgumentParser) -> None:
    """Run a sweep: stages, teachers, tuning runs, trials with their controls, probes.

    Where the file has further seeds, undecided questions get them. The same command again goes on
    where it stands.
    """
    parser.set_defaults(load=lambda options: load_sweep(options.config, options.overrides))
    parser.add_argument("config", type=Path, metavar="SWEEP.yaml", help="what to run")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="replace a value of the sweep, or of its base and all teachers' runs; see raykd "
        "explain --sweep",
    )
    parser.add_argument(
        "--address",
        default="local",
        metavar="HOST",
        help="Ray cluster to join, such as auto; default: a Ray of its own on this machine",
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="try failed runs again, from their checkpoints"
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="COORDINATE=VALUE",
        help="run these trials alone, such as teacher=small, with what belongs to them: controls, "
        "stages, teachers, all tuning runs, probes; may be repeated",
    )


def report(parser: argparse.ArgumentParser) -> None:
    """Say what a sweep found: answers, then arms, probes, costs, failures; write the page.

    Of two sweeps: what differs in their files, and which answers changed; nothing is written but
    with --output.
    """
    parser.set_defaults(load=_load_reported)
    parser.add_argument(
        "sweep", metavar="SWEEP", help="sweep file, or the directory of a sweep, such as s3://..."
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="SWEEP|KEY=VALUE",
        help="a second sweep to set beside the first; beside a sweep file, what raykd sweep was "
        "given, such as output_uri=s3://...",
    )
    parser.add_argument(
        "--watch", action="store_true", help="show it while the sweep goes on, or until Ctrl-C"
    )
    parser.add_argument(
        "--output",
        metavar="DIR",
        help="directory of the files, new or with a report; default: report/ in the sweep's. Of "
        "two sweeps: directory of comparison.json, new or with one",
    )
    parser.add_argument(
        "--no-measure",
        action="store_true",
        help="do not time the models on one example here, about a second each",
    )


def _load_reported(options: argparse.Namespace) -> dict[str, SweepConfig | None]:
    """Return each sweep that is named, a file with what it says, a directory with None."""
    others, overrides = places_and_overrides(options.overrides)
    sweeps = [options.sweep, *others]
    if len(sweeps) > 2:  # noqa: PLR2004  side by side
        message = f"{', '.join(sweeps)}: are {len(sweeps)} sweeps; name one, or two to compare"
        raise ConfigError(message)
    if others and options.watch:
        message = f"--watch is for one sweep, not for {options.sweep} beside {others[0]}"
        raise ConfigError(message)
    if overrides and not any(map(is_yaml, sweeps)):
        message = (
            f"{options.sweep}: is a directory, which takes no {overrides[0]}; give the sweep file"
        )
        raise ConfigError(message)
    if others == [options.sweep]:
        message = f"{options.sweep}: is one sweep, named twice; name another beside it"
        raise ConfigError(message)
    return {
        named: load_sweep(Path(named), overrides) if is_yaml(named) else None for named in sweeps
    }


def submit(parser: argparse.ArgumentParser) -> None:
    """Run a command on a cluster: raykd submit sweep configs/sweeps/demo.yaml --address URL.

    Packs the files below this directory that git tracks, as they are now, starts the command on
    the cluster's head and shows what it prints; ends with its exit status. Ctrl-C, or a terminal
    that is lost, leaves the job running, and the same command attaches to it again. After its end
    the same command starts it once more, and it goes on where it stands, for what it has done is
    in storage.

    `ray job list`, `ray job status ID`, `ray job logs ID --follow` and `ray job stop ID` are for
    the jobs of a cluster; one that is stopped writes a checkpoint first.

    Where all machines of the cluster are this one, the job runs in this directory, and its places
    are the same as without a cluster. On other machines there is no such directory: places that
    are relative to it, as output_uri, runs_uri, data.uri or --output, are refused; give a URI such
    as s3://bucket/runs, or a path that all machines share.

    The job is told where stores and servers are (AWS_ENDPOINT_URL, AWS_REGION, HF_ENDPOINT,
    MLFLOW_TRACKING_URI, WANDB_MODE and the like), and no secret: give the machines a role, or ask
    for more with --env, which everybody who reaches the cluster can read. The token of the cluster
    is Ray's: RAY_AUTH_TOKEN, the file that RAY_AUTH_TOKEN_PATH names, or ~/.ray/auth_token. `ray
    job list` shows who has submitted a job: the name of the user here.
    """
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "submitted", choices=SUBMITTED, metavar="COMMAND", help=", ".join(SUBMITTED)
    )
    parser.add_argument(
        "words", nargs="*", metavar="ARGUMENT", help="of the command, as without a cluster"
    )
    parser.add_argument(
        "--address",
        metavar="URL",
        help="job server of the cluster, such as http://HOST:8265; default: that of "
        "RAY_API_SERVER_ADDRESS or RAY_ADDRESS, else of the Ray on this machine",
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="one more variable for the job; may be repeated",
    )
    parser.add_argument(
        "--no-follow", action="store_true", help="end as soon as the job is submitted"
    )


def evaluate(parser: argparse.ArgumentParser) -> None:
    """Score the model of a run, or one of its checkpoints, beside its teacher."""
    parser.add_argument(
        "uri", metavar="RUN_URI", help="directory of a run, or of one of its checkpoints"
    )
    parser.add_argument("--data", metavar="URI", help="other prepared data than the run's")
    parser.add_argument(
        "--split", help="split to score, such as test; default: the run's data.eval_split"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def export(parser: argparse.ArgumentParser) -> None:
    """Write the model of a run or checkpoint as a transformers directory with a model card."""
    parser.add_argument(
        "uri", metavar="RUN_URI", help="directory of a run, or of one of its checkpoints"
    )
    parser.add_argument(
        "--output", required=True, metavar="URI", help="directory to appear, local or remote"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a model that was exported there"
    )
    parser.add_argument(
        "--language",
        metavar="CODE",
        help="of a student with a projection per language: the plain model of one",
    )
    parser.add_argument(
        "--no-check",
        action="store_true",
        help="publish at once; without it the model is loaded by transformers alone, and its "
        "scores of a few texts are compared with the student's",
    )


def replay(parser: argparse.ArgumentParser) -> None:
    """Take one step of a run once more and say what its rows did, for a step that diverged."""
    parser.add_argument("uri", metavar="RUN_URI", help="directory of a run")
    parser.add_argument(
        "--step", type=int, required=True, metavar="N", help="step to replay, counted from 1"
    )
    parser.add_argument(
        "--rows", type=int, default=8, metavar="K", help="rows to show, worst first; default: 8"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object, with every digit and all rows"
    )


def doctor(parser: argparse.ArgumentParser) -> None:
    """Examine what distillation rests on: the losses, a teacher and a student, the storage."""
    subjects = parser.add_subparsers(dest="subject", metavar="SUBJECT", required=True)

    def subject(name: str, summary: str) -> argparse.ArgumentParser:
        added = subjects.add_parser(
            name, help=summary, description=summary, parents=[debug_option()]
        )
        added.set_defaults(module=f"doctor_{name}")
        return added

    losses = subject(
        "losses", "prove that the objective is what it says, on this device and in this precision"
    )
    losses.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    losses.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        default="float32",
        help="as train.precision, and as the teacher's dtype",
    )
    pair = subject(
        "pair", "say whether two models can be teacher and student, and what that costs"
    )
    for name in ("teacher", "student"):
        pair.add_argument(
            name, metavar=name.upper(), help="Hub name, or directory of a model, run or checkpoint"
        )
    pair.add_argument("--data", metavar="URI", help="prepared data to compare and score both on")
    pair.add_argument(
        "--task", choices=get_args(TaskName), help="default: what the teacher's head was made for"
    )
    pair.add_argument(
        "--split", default="validation", help="split of the data to score on; default: validation"
    )
    storage = subject(
        "storage", "say what a store lets raykd do: it writes a small object, and removes it"
    )
    storage.add_argument("uri", metavar="URI", help="where runs or data are to be written")


def clean(parser: argparse.ArgumentParser) -> None:
    """Find what dead writers have left in storage: files of uploads and runs that nobody needs.

    Nothing is removed without --delete. What belongs to a run, sweep or cache with a live driver
    stays, and so do committed directories and whatever raykd has not written.
    """
    parser.add_argument(
        "uris",
        nargs="+",
        metavar="URI",
        help="a run, a sweep, a cache, a directory that holds them or prepared data, or a bucket",
    )
    parser.add_argument("--delete", action="store_true", help="remove what is found")
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        type=parse_age,
        help="such as 30m, 12h, 2d; default: 1h, and then what raykd prepare has not finished "
        "stays: the same command continues it",
    )


def parse_age(text: str) -> float:
    """Return the seconds of an age such as 30m, 12h, 2d.

    Raises:
        ArgumentTypeError: It is none.
    """
    if not (match := re.fullmatch(r"(\d+)([smhd])", text)):
        message = f"{text!r} is no age; give one such as 30m, 12h or 2d"
        raise argparse.ArgumentTypeError(message)
    return float(int(match[1]) * _UNIT_SECONDS[match[2]])


def explain(parser: argparse.ArgumentParser) -> None:
    """Document configuration keys: type, default and meaning, from the schema itself."""
    parser.add_argument(
        "key", nargs="?", default="", metavar="KEY", help="a key or section, such as losses"
    )
    parser.add_argument(
        "--sweep", action="store_true", help="keys of a sweep file; default: those of a run file"
    )
