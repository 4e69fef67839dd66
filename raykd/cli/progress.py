"""How a run looks while it goes on: a live line on a terminal, plain lines in a log."""

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.table import Table

from raykd.config.schema.data import SEEN, UNSEEN
from raykd.report.units import duration

if TYPE_CHECKING:
    from raykd.runs.result import RunResult


_NOTABLE_WAIT = 0.05
"""Share of the time from which on a line says that training waits for data."""

console = Console(highlight=False, soft_wrap=True)


class RunDisplay:
    """Shows the records of one run."""

    def __init__(self, *, num_steps: int, is_live: bool) -> None:
        """Begin with nothing to show.

        Args:
            num_steps: Optimizer steps of the run.
            is_live: Keep a live line on a terminal. A run in this process must not: a debugger
                may ask for that terminal at any moment, and lines leave it alone.
        """
        self._num_steps = num_steps
        self._is_live = is_live and console.is_terminal
        self._progress = Progress(
            TextColumn("step"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not self._is_live,
        )
        self._task = self._progress.add_task("starting", total=num_steps)

    def __enter__(self) -> Self:
        """Start the live display, where there is a terminal."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the live display; what was printed stays."""
        self._progress.stop()

    def message(self, text: str) -> None:
        """Print one line."""
        console.print(text, markup=False)

    def show(self, record: Mapping[str, float]) -> None:
        """Show a record: an evaluation stays, a training report moves the live line."""
        if "train/learning_rate" not in record:
            self.message(evaluation_line(record, self._num_steps))
            return
        line = training_line(record, self._num_steps)
        if self._is_live:
            self._progress.update(self._task, completed=record["step"], description=line)
        else:
            self.message(line)


def training_line(record: Mapping[str, float], num_steps: int) -> str:
    """Return one aligned line on a training report."""
    width = len(str(num_steps))
    parts = [f"step {int(record['step']):>{width}}/{num_steps}"]
    if "train/loss" in record:
        parts.append(f"loss {record['train/loss']:7.4f}")
        prefix = "train/loss/"
        terms = {name: value for name, value in record.items() if name.startswith(prefix)}
        if len(terms) > 1:
            parts += [f"{name.removeprefix(prefix)} {value:7.4f}" for name, value in terms.items()]
        parts.append(f"grad {record['train/grad_norm']:6.3f}")
    else:
        parts.append("no position scored")
    # Thousands apart by a space, as in SI: a comma reads as a decimal point in half of the world.
    parts.append(f"{record['train/tokens_per_second']:>9,.0f} tokens/s".replace(",", " "))
    if (waits := record["train/data_wait_share"]) >= _NOTABLE_WAIT:
        parts.append(f"{waits:.0%} waiting for data")
    parts.append(f"eta {duration(training_seconds_left(record, num_steps))}")
    return "  ".join(parts)


def training_seconds_left(record: Mapping[str, float], num_steps: int) -> float:
    """Return how long the remaining steps take at the record's speed, without evaluations.

    From the record alone: those of an earlier part of the run arrive all at once.
    """
    tokens_per_step = record["tokens"] / record["step"]
    steps_left = num_steps - record["step"]
    return steps_left * tokens_per_step / record["train/tokens_per_second"]


def evaluation_line(record: Mapping[str, float], num_steps: int) -> str:
    """Return one line on an evaluation or a start; single languages are left to the file."""
    width = len(str(num_steps))
    parts = [f"step {int(record['step']):>{width}}/{num_steps}"]
    for name, value in record.items():
        if name == "init/logit_difference":
            parts.append(f"largest logit difference to the source of the weights {value:.3g}")
        if name == "best/step":
            parts.append(f"keeps the weights of step {int(value)}")
        split, _, short = name.partition("/")
        if split in ("eval", "test") and "/" not in short.removeprefix("teacher/"):
            parts.append(f"{split} {short} {value:.4f}")
    return "  ".join(parts)


def print_result(result: "RunResult", *, run_uri: str) -> None:
    """Print how a run ended and what to do with it."""
    if not result.is_done:
        console.print(
            f"stopped after step {result.step} of {result.num_steps}, with a checkpoint; "
            "the same command continues",
            markup=False,
        )
        return
    print_metrics(result.metrics)
    if (best := result.metrics.get("best/step")) is not None:
        seen = f"eval/{SEEN}/loss"
        decides = seen if seen in result.metrics else "eval/loss"
        console.print(f"kept: the weights of step {int(best)}, of the lowest {decides}")
    console.print(f"done: {result.num_steps} steps, run {run_uri}", markup=False)
    console.print(f"model: {result.model_uri}", markup=False)


def print_metrics(metrics: Mapping[str, float]) -> None:
    """Print an evaluation, and one on the test split: see ``_print_split``."""
    _print_split("", _by_model(metrics, "eval"))
    if tested := _by_model(metrics, "test"):
        console.print()
        _print_split("test", tested)


def _print_split(corner: str, by_model: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Print every metric of each model, then one of them by language.

    That is the accuracy, or of predicted numbers their correlation with the true ones.
    """
    chosen = (
        "pearson" if any("pearson" in v.get("", {}) for v in by_model.values()) else "accuracy"
    )
    console.print(
        _pivot(corner, {model: values[""] for model, values in by_model.items() if "" in values})
    )
    by_language: dict[str, dict[str, float]] = {}
    for model, languages in by_model.items():
        for language, values in languages.items():
            if language and chosen in values:
                by_language.setdefault(language, {})[model] = values[chosen]
            if language and "forgetting" in values:
                by_language.setdefault(language, {})["forgotten"] = values["forgetting"]
    if by_language:
        console.print()
        console.print(_pivot(f"{corner} {chosen}".strip(), by_language))


def _by_model(metrics: Mapping[str, float], prefix: str) -> dict[str, dict[str, dict[str, float]]]:
    """Return an evaluation by model, language ("" is all of them) and metric."""
    # eval/teacher/METRIC with one teacher, eval/teacher/NAME/METRIC with several; a language may
    # follow each.
    has_one_teacher = f"{prefix}/teacher/loss" in metrics
    by_model: dict[str, dict[str, dict[str, float]]] = {}
    for name, value in metrics.items():
        start, *parts = name.split("/")
        if start != prefix:
            continue
        model = "student"
        if parts[0] == "teacher":
            model = parts.pop(0) if has_one_teacher else f"teacher {parts[1]}"
            parts = parts if has_one_teacher else parts[2:]
        if parts[0] in (SEEN, UNSEEN):
            # Shown like a language: its accuracy is a row.
            parts.reverse()
        metric, language = parts[0], "/".join(parts[1:])
        by_model.setdefault(model, {}).setdefault(language, {})[metric] = value
    return by_model


def _pivot(corner: str, rows: Mapping[str, Mapping[str, float]]) -> Table:
    columns = list(dict.fromkeys(column for values in rows.values() for column in values))
    table = Table(corner, *columns, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row, values in rows.items():
        cells = (f"{values[column]:.4f}" if column in values else "-" for column in columns)
        table.add_row(row, *cells)
    return table
