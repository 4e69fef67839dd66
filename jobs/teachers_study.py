r"""Which teacher for which language? Ways to weigh a teacher per language, then one language more.

    OMP_NUM_THREADS=1 python jobs/teachers_study.py --data data/topics \
        --encoder runs/amtss-encoder-... --added-data data/topics-nld --added-language nld_Latn

Trains a teacher for every language (configs/runs/amtss_teacher.yaml), then one student of all of
them (amtss_student.yaml) for every way of weighting, with and without adaptive sampling, over
several seeds, and a control without teachers; prints their accuracy per language. Then adds a
language to the students of one arm (add_language.yaml) and prints what they forget. Started again
it continues.
"""

import argparse
import itertools
import json
import statistics
from collections.abc import Mapping, Sequence

from raykd.data.manifest import read_manifest
from rich.console import Console
from rich.table import Table
from trials import Trial, train_all

WEIGHTINGS = ("control", "uniform", "by_language", "importance", "max_margin")
MIXINGS = ("uniform", "adaptive")
ADDED_TO = ("importance", "adaptive")
console = Console(highlight=False, soft_wrap=True, width=160)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--data", required=True, help="prepared rows of several languages")
    parser.add_argument("--encoder", required=True, help="a run of amtss_encoder.yaml")
    parser.add_argument("--added-data", required=True, help="the same with one language more")
    parser.add_argument("--added-language", required=True)
    parser.add_argument("--runs", default="runs", help="where runs go")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2, help="runs side by side")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for all students")
    options = parser.parse_args(arguments)

    languages = read_manifest(options.data).languages
    teachers = {language: _teacher(language, options) for language in languages}
    added = _teacher(options.added_language, options, data=options.added_data)
    train_all([*teachers.values(), added], processes=options.processes)

    students = {
        (weighting, mixing, seed): _student(weighting, mixing, seed, teachers, options)
        for weighting, mixing, seed in itertools.product(WEIGHTINGS, MIXINGS, range(options.seeds))
        if (weighting, mixing) != ("control", "adaptive")  # gaps need teachers
    }
    train_all(list(students.values()), processes=options.processes)
    console.print(_accuracy_table(students, teachers, options.seeds))

    extended = {
        seed: _extended(
            students[(*ADDED_TO, seed)], seed, {**teachers, options.added_language: added}, options
        )
        for seed in range(options.seeds)
    }
    train_all(list(extended.values()), processes=options.processes)
    console.print(_forgetting_table(extended, [*languages, options.added_language]))
    return 0


def _teacher(language: str, options: argparse.Namespace, *, data: str | None = None) -> Trial:
    return Trial(
        label=f"teacher {language}",
        config="amtss_teacher.yaml",
        overrides=(
            f"name=amtss-teacher-{language}",
            f"output_uri={options.runs}",
            f"data.uri={data or options.data}",
            f"data.languages=[{language}]",
            f"student.pretrained={options.encoder}",
        ),
    )


def _student(
    weighting: str,
    mixing: str,
    seed: int,
    teachers: Mapping[str, Trial],
    options: argparse.Namespace,
) -> Trial:
    named = {_short(language): {"model": trial.paths.run} for language, trial in teachers.items()}
    section: dict[str, object] = {}
    if weighting == "by_language":
        section = {"teachers": {language: _short(language) for language in teachers}}
    mixture = "{adaptive: {}}" if mixing == "adaptive" else "{temperature: {exponent: 0}}"
    overrides = [
        f"name=amtss-{weighting}-{mixing}",
        f"output_uri={options.runs}",
        f"data.uri={options.data}",
        f"data.mixing={mixture}",
        f"student.init.copy_layers.source={options.encoder}",
        f"train.seed={seed}",
        *options.overrides,
    ]
    if weighting == "control":
        overrides += ["teachers={}", "teacher_weights=null", "losses.forward_kl=null"]
        overrides += [f"student.architecture.{key}={value}" for key, value in _SHAPE.items()]
    else:
        overrides += [f"teachers={json.dumps(named)}"]
        overrides += [f"teacher_weights={json.dumps({weighting: section})}"]
    return Trial(
        label=f"student {weighting}, {mixing} sampling, seed {seed}",
        config="amtss_student.yaml",
        overrides=tuple(overrides),
    )


_SHAPE = {
    "model_type": "bert",
    "hidden_size": 128,
    "num_heads": 4,
    "intermediate_size": 512,
    "dropout": 0.0,
    "settings": "{max_position_embeddings: 128}",
}
"""Of the encoder: a student without teachers has none to take its architecture from."""


def _extended(
    student: Trial, seed: int, teachers: Mapping[str, Trial], options: argparse.Namespace
) -> Trial:
    """Return the run that adds a language: half of the rows are new, half are replayed."""
    named = {
        _short(language): {"model": trial.paths.run, "languages": [language]}
        for language, trial in teachers.items()
    }
    weights = dict.fromkeys(teachers, 1.0)
    weights[options.added_language] = float(len(teachers) - 1)
    return Trial(
        label=f"{options.added_language} added, seed {seed}",
        config="add_language.yaml",
        overrides=(
            f"output_uri={options.runs}",
            f"data.uri={options.added_data}",
            f"data.mixing.fixed.weights={json.dumps(weights)}",
            f"teachers={json.dumps(named)}",
            f"student.pretrained={student.paths.run}",
            f"train.seed={seed}",
        ),
    )


def _short(language: str) -> str:
    return language.partition("_")[0]


def _accuracy_table(
    students: Mapping[tuple[str, str, int], Trial], teachers: Mapping[str, Trial], seeds: int
) -> Table:
    table = Table(title=f"accuracy, mean (standard deviation) of {seeds} seeds", box=None)
    for column in ("weights", "sampling", *map(_short, teachers), "mean", "worst"):
        table.add_column(column, justify="left" if column in ("weights", "sampling") else "right")
    alone = [trial.evaluations[-1]["eval/accuracy"] for trial in teachers.values()]
    cells = [f"{value:.3f}" for value in [*alone, statistics.fmean(alone), min(alone)]]
    table.add_row("teachers", "-", *cells)
    for weighting, mixing in dict.fromkeys((w, m) for w, m, _ in students):
        found = [students[weighting, mixing, seed].evaluations[-1] for seed in range(seeds)]
        rows = [[record[f"eval/accuracy/{language}"] for language in teachers] for record in found]
        columns = [
            *zip(*rows, strict=True),
            *zip(*((statistics.fmean(r), min(r)) for r in rows), strict=True),
        ]
        table.add_row(weighting, mixing, *(_spread(column) for column in columns))
    return table


def _forgetting_table(extended: Mapping[int, Trial], languages: Sequence[str]) -> Table:
    table = Table(title="one language added: accuracy before, after, forgotten", box=None)
    for column in ("language", "before", "after", "forgotten"):
        table.add_column(column, justify="left" if column == "language" else "right")
    runs = [trial.evaluations for trial in extended.values()]
    for language in languages:
        name = f"eval/accuracy/{language}"
        before, after = ([records[at][name] for records in runs] for at in (0, -1))
        lost = [b - a for b, a in zip(before, after, strict=True)]
        table.add_row(_short(language), _spread(before), _spread(after), _spread(lost))
    return table


def _spread(values: Sequence[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.3f} ({deviation:.3f})"


if __name__ == "__main__":
    raise SystemExit(main())
