"""The files that a command reads, and the places it names that only its submitter has."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.config.given import read_mapping, replace_value
from raykd.config.kinds import is_sweep
from raykd.config.load import load_run, load_sweep, plain
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """What a command is told by its files and overrides."""

    paths: tuple[Path, ...] = ()
    """Configuration files, the one that the command names first."""

    relative: tuple[str, ...] = ()
    """Places that depend on the directory of the command, as KEY=VALUE."""


def configuration(path: Path, overrides: Sequence[str]) -> Configuration:
    """Read what a run or a sweep is, and where.

    Raises:
        ConfigError: A file is wrong.
    """
    if not is_sweep(path):
        run = plain(load_run(path, overrides))
        return Configuration(paths=(path,), relative=_told(_places_of_run(run)))
    sweep = load_sweep(path, overrides)
    files = [Path(sweep.base), *(Path(t.run) for t in sweep.teachers.values() if t.run)]
    relative = _told(_places_of_sweep(sweep))
    return Configuration(paths=(path, *dict.fromkeys(files)), relative=relative)


def relative_place(key: str, uri: str) -> tuple[str, ...]:
    """Return a place as KEY=VALUE if it depends on the directory of the command."""
    return _told([(key, uri)])


def require_reachable(relative: Sequence[str], *, address: str) -> None:
    """Check that a job on other machines names no place relative to this directory.

    Raises:
        ConfigError: It does.
    """
    if not relative:
        return
    message = (
        f"{', '.join(relative)}: is relative to this directory, which the machines of {address} "
        "do not have: a job there starts in an unpacked package that is thrown away; give places "
        "that all of them reach, such as output_uri=s3://bucket/runs"
    )
    raise ConfigError(message)


def _told(places: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(f"{key}={uri}" for key, uri in places if _is_relative(uri)))


def _is_relative(uri: str) -> bool:
    return "://" not in uri and not Path(uri).is_absolute()


def _places_of_sweep(sweep: SweepConfig) -> Iterator[tuple[str, str]]:
    yield "output_uri", sweep.output_uri
    if sweep.runs_uri is not None:
        yield "runs_uri", sweep.runs_uri
    yield from _models(plain(sweep))
    runs: list[tuple[str, dict[str, Any]]] = [(sweep.base, {})]
    runs += [
        (teacher.run, teacher.overrides) for teacher in sweep.teachers.values() if teacher.run
    ]
    for path, own in runs:
        given = read_mapping(Path(path))
        for key, value in {**sweep.overrides, **own}.items():
            replace_value(given, key, value)
        if path == sweep.base and sweep.teachers:
            # The sweep's own take their place.
            given.pop("teachers", None)
        places = dict(_places_of_run(given))
        if sweep.runs_uri is not None:
            del places["output_uri"]
        yield from places.items()


def _places_of_run(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield where a run reads and writes; files may leave out what is as by default."""
    yield "output_uri", run.get("output_uri", "runs")
    for section, key in (("data", "uri"), ("tracking", "mlflow")):
        if uri := (run.get(section) or {}).get(key):
            yield f"{section}.{key}", uri
    pretrained = (run.get("student") or {}).get("pretrained")
    if pretrained and _is_here(pretrained):
        yield "student.pretrained", pretrained
    yield from _models(run)


def _models(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, teacher in (given.get("teachers") or {}).items():
        if (model := teacher.get("model")) and _is_here(model):
            yield f"teachers.{name}.model", model


def _is_here(model: str) -> bool:
    """Tell whether a model is a directory here; else it is a name on the Hub, or a URI."""
    return "://" not in model and Path(model).exists()
