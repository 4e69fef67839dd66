"""The run files that a sweep names, each with the changes that the sweep makes to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.config.given import replace_value
from raykd.config.identity import WITHOUT_EFFECT
from raykd.config.kinds import read_run_mapping
from raykd.config.schema.sweep import SweepConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedRun:
    """A run file of a sweep."""

    key: str
    """What names it: base, teachers.NAME, stages.NAME or probes.NAME."""

    path: str
    changes: Mapping[str, object]
    """Key of the run to its value; later ones go before earlier ones."""

    def mapping(self) -> dict[str, Any]:
        """Return what the file holds with the changes made, unchecked.

        Raises:
            ConfigError: The file cannot be read, or is a sweep.
        """
        given = read_run_mapping(Path(self.path))
        for key, value in self.changes.items():
            replace_value(given, key, value)
        return given


def named_runs(sweep: SweepConfig) -> dict[str, NamedRun]:
    """Return the runs of a sweep by their keys, the base first."""
    everywhere = ({} if sweep.runs_uri is None else {"output_uri": sweep.runs_uri}) | {
        key: value for key, value in sweep.overrides.items() if _is_without_effect(key)
    }
    alike = everywhere | sweep.overrides
    runs = [NamedRun(key="base", path=sweep.base, changes=alike)]
    runs += [
        NamedRun(key=f"teachers.{name}", path=teacher.run, changes=alike | teacher.overrides)
        for name, teacher in sweep.teachers.items()
        if teacher.run is not None
    ]
    # Stages and probes have tasks and data of their own: what the trials read is not for them.
    for section, entries in (("stages", sweep.stages), ("probes", sweep.probes)):
        runs += [
            NamedRun(key=f"{section}.{name}", path=e.run, changes=everywhere | e.overrides)
            for name, e in entries.items()
        ]
    return {run.key: run for run in runs}


def _is_without_effect(key: str) -> bool:
    return key.partition(".")[0] in WITHOUT_EFFECT
