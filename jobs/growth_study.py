r"""How should a larger student start? Ways to grow a small teacher, with its loss and without.

    OMP_NUM_THREADS=1 python jobs/growth_study.py --data data/english \
        --teacher runs/weak-teacher-...

Trains weak_teacher_student.yaml from random weights and from the teacher's, grown in every way,
each with the teacher's loss at weight 0 and 1; prints the held-out loss at 10 % and 100 % of the
steps. Started again it continues.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from trials import Trial, train_all

STARTS = {
    "random": "null",
    "remap repeat_last": "{remap: {depth: repeat_last}}",
    "remap stack": "{remap: {depth: stack}}",
    "remap interleave": "{remap: {depth: interleave}}",
    "expand fpi": "{expand: {width: fpi}}",
    "expand aki": "{expand: {width: aki}}",
}
console = Console(highlight=False, soft_wrap=True, width=120)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--data", required=True, help="prepared text")
    parser.add_argument("--teacher", required=True, help="a run of weak_teacher.yaml")
    parser.add_argument("--runs", default="runs", help="where runs go")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2, help="runs side by side")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for all students")
    options = parser.parse_args(arguments)

    trials = {
        (start, weight, seed): _student(start, weight, seed, options)
        for start in STARTS
        for weight in (0, 1)
        for seed in range(options.seeds)
    }
    train_all(list(trials.values()), processes=options.processes)
    console.print(_table(trials, options))
    return 0


def _student(start: str, weight: int, seed: int, options: argparse.Namespace) -> Trial:
    return Trial(
        label=f"{start}, weight {weight}, seed {seed}",
        config="weak_teacher_student.yaml",
        overrides=(
            f"name=grown-{start.replace(' ', '-')}",
            f"output_uri={options.runs}",
            f"data.uri={options.data}",
            f"teachers.weak.model={options.teacher}",
            f"student.init={STARTS[start]}",
            f"losses.forward_kl.weight={weight}",
            "train.num_epochs=null",
            f"train.num_steps={options.steps}",
            f"train.eval_every_steps={max(options.steps // 10, 1)}",
            f"train.seed={seed}",
            *options.overrides,
        ),
    )


def _table(trials: Mapping[tuple[str, int, int], Trial], options: argparse.Namespace) -> Table:
    table = Table(title=f"held-out loss, mean of {options.seeds} seed(s)", box=None)
    table.add_column("start")
    for column in ("10 %, alone", "10 %, with teacher", "100 %, alone", "100 %, with teacher"):
        table.add_column(column, justify="right")
    for start in STARTS:
        cells = [
            statistics.fmean(
                trials[start, weight, seed].evaluations[at]["eval/loss"]
                for seed in range(options.seeds)
            )
            for at in (0, -1)
            for weight in (0, 1)
        ]
        table.add_row(start, *(f"{value:.4f}" for value in cells))
    return table


if __name__ == "__main__":
    raise SystemExit(main())
