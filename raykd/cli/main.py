"""The raykd command: parse, read what is given, dispatch, and turn errors into one clear line."""

import argparse
import importlib
import io
import sys
from collections.abc import Sequence

from raykd import __version__
from raykd.cli import arguments, prepare_arguments
from raykd.cli.debug import debug_option, is_unread, tell, unread_output
from raykd.cli.quiet import quiet_libraries
from raykd.config.credentials import refuse_credentials
from raykd.machine.allocator import keep_large_blocks
from raykd.storage.remote.retry_limit import COMMAND_SECONDS, retry_for

_DESCRIPTION = "Distillation studies of language models, on one laptop or a Ray cluster."

_EPILOG = """\
examples:
  raykd prepare  --demo stdlib-docs --output data/stdlib-docs
  raykd check    configs/runs/demo_student.yaml
  raykd cache    configs/runs/demo_student.yaml teachers.small.cache={} --plan
  raykd train    configs/runs/demo_teacher.yaml cluster.num_workers=0 train.num_steps=20
  raykd check    configs/sweeps/demo.yaml
  raykd sweep    configs/sweeps/demo.yaml
  raykd report   configs/sweeps/demo.yaml --watch
  raykd report   sweeps/demo s3://bucket/sweeps/demo
  raykd submit   sweep configs/sweeps/demo.yaml --address http://127.0.0.1:8265
  raykd evaluate runs/demo-teacher-1a2b3c4d
  raykd export   runs/demo-teacher-1a2b3c4d --output models/teacher
  raykd replay   runs/demo-teacher-1a2b3c4d --step 120
  raykd doctor   losses --dtype bfloat16
  raykd doctor   pair runs/demo-teacher-1a2b3c4d models/student --data data/stdlib-docs
  raykd doctor   storage s3://bucket/runs
  raykd clean    s3://bucket/runs --older-than 2d
  raykd explain  losses.forward_kl

Overrides are key=value, any number, later wins; null switches an optional section
off. Exit status: 0 done, 1 the run failed or was stopped, 2 the input is wrong.
--debug, before or after a command, shows where in the program an error comes from.
"""

_COMMANDS = {
    prepare_arguments.prepare: "turn text into the tokenised data that runs read",
    arguments.check: "say what a run or sweep would do and show, and all that is wrong with it",
    arguments.cache: "compute what the teachers of a run say once, and keep it for all runs",
    arguments.train: "train a model, from a teacher or alone; again to continue",
    arguments.sweep: "run a study: stages, teachers, trials, controls, probes; again to continue",
    arguments.report: "say what a study answers and found, text and page; or how two differ",
    arguments.submit: "run a command on a cluster, and follow it; again to attach or continue",
    arguments.evaluate: "score the model of a run, beside its teacher",
    arguments.export: "write the model of a run or checkpoint as a transformers directory",
    arguments.replay: "take one step of a run once more: what its rows do to loss and gradient",
    arguments.doctor: "prove the losses right here, see if two models fit, or try a store",
    arguments.clean: "find what killed runs and uploads have left in storage, and remove it",
    arguments.explain: "document configuration keys",
}

_TRAINING = ("train", "cache")
"""What asks models in this process."""

_MODULES = "raykd.cli.commands"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser without loading torch or Ray, so that --help is instant."""
    parser = argparse.ArgumentParser(
        prog="raykd",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[debug_option()],
    )
    parser.add_argument("--version", action="version", version=f"raykd {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for declare, summary in _COMMANDS.items():
        arguments.add_command(commands, declare, summary)
    return parser


def parse(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line, the process's own where None; exit where it is wrong."""
    parser = build_parser()
    # parse_intermixed_args would take overrides after flags, but refuses subcommands.
    options, left_over = parser.parse_known_args(given)
    if options.command == "submit":
        options.words += left_over
        # The words of the job's command, flags too, so that it is refused here and not on the
        # cluster.
        options.parsed = parse([options.submitted, *options.words])
        return options
    # argparse ends a list at the first flag: overrides after one are left over.
    overrides = getattr(options, "overrides", None)
    if left_over and (overrides is None or any(word.startswith("-") for word in left_over)):
        parser.error(f"unrecognized arguments: {' '.join(left_over)}")
    if overrides is not None:
        overrides += left_over
    return options


def _own_arguments(options: argparse.Namespace) -> dict[str, object]:
    """Return what a command is given beside overrides, which are checked with their file."""
    return {name: value for name, value in vars(options).items() if name != "overrides"}


def main(given: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    _print_what_can_be_printed()
    with unread_output():
        return _run(parse(given))


def _run(options: argparse.Namespace) -> int:
    try:
        # First of all: any message after it may repeat an argument.
        refuse_credentials(_own_arguments(options), origin=f"raykd {options.command}")
        # Whoever waits at a terminal wants to hear of a wrong address soon; training has longer.
        with retry_for(COMMAND_SECONDS):
            # Before the libraries, which take seconds, are loaded.
            files = [options.load(options)] if "load" in options else []
            if options.command in _TRAINING:
                # Libraries start threads, and those reach the store.
                keep_large_blocks()
            quiet_libraries()
            # Late: torch and Ray take seconds to import, which --help and a misspelt key need not
            # wait.
            command = importlib.import_module(f"{_MODULES}.{options.module}")
            status: int = command.run(options, *files)
    except KeyboardInterrupt:
        print("raykd: interrupted; what is finished stays", file=sys.stderr)
        return 1
    except Exception as error:
        # Of whatever kind: users get one line, not a traceback.
        if is_unread(error):
            raise
        return tell(error, debug="debug" in options)
    return status


def _print_what_can_be_printed() -> None:
    """Have a mark stand for a character that the encoding of the output lacks.

    Names of classes, languages and files hold any character, and no work fails for one.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
