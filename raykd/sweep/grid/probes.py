"""The probes of a study: runs that begin at models of others, to tell how good these are."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from raykd.config.load import checked_run
from raykd.config.named_runs import named_runs
from raykd.config.schema.run import RunConfig
from raykd.config.schema.study import ProbeConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError
from raykd.sweep.grid.entry import Entry, entry_of, with_seed
from raykd.sweep.grid.stages import Stages, milestones_of

_MODEL = "the model that is probed"


class Probes:
    """Makes the probes of runs.

    Raises:
        ConfigError: The run file of a probe is wrong, or builds a model of its own.
    """

    def __init__(
        self, sweep: SweepConfig, stages: Stages, pinned: Callable[[RunConfig], RunConfig]
    ) -> None:
        """Read the run files.

        Args:
            sweep: Names them.
            stages: For models that a probe names beside the one that it scores.
            pinned: Adds to a run what its inputs hold.
        """
        self._pinned = pinned
        self._made = stages.made
        self._probes: dict[str, tuple[ProbeConfig, RunConfig]] = {}
        runs = named_runs(sweep)
        for name, probe in sweep.probes.items():
            run = runs[f"probes.{name}"]
            given = run.mapping()
            student = given.setdefault("student", {})
            if isinstance(student, dict):
                for key in ("architecture", "init"):
                    if student.get(key) is not None:
                        message = (
                            f"{run.key}: {run.path} has student.{key}, but the student of a probe "
                            "is the model that it scores: leave it out, or override it with null"
                        )
                        raise ConfigError(message)
                student["pretrained"] = _MODEL
            checked = checked_run(given, origin=f"{run.key}: {run.path}")
            config = stages.resolved(checked, origin=f"{run.key}: ")
            self._probes[name] = (probe, config)

    def fractions_of(self, entry: Entry) -> set[float]:
        """Return the fractions of a run's steps at which its model is probed."""
        return {at for _, probe, _ in self._of(entry) for at in probe.at}

    def entries_of(self, entry: Entry, *, num_steps: int) -> Iterator[Entry]:
        """Yield the probes of a run, as far as it has any.

        Args:
            entry: The run.
            num_steps: Its steps.
        """
        for name, probe, config in self._of(entry):
            models = milestones_of(entry.config, probe.at, num_steps=num_steps)
            for at, model in zip(probe.at, models, strict=True):
                self._made[model.uri] = model.origin
                student = replace(config.student, pretrained=model.uri)
                for seed in probe.seeds:
                    yield entry_of(
                        self._pinned(with_seed(replace(config, student=student), seed)),
                        kind="probe",
                        coordinates={"probe": name, "at": at},
                        needs=(entry.id,),
                        probed=entry.id,
                        probed_step=model.step,
                    )

    def _of(self, entry: Entry) -> Iterator[tuple[str, ProbeConfig, RunConfig]]:
        is_teacher = "teacher" in entry.coordinates
        whose = {"trial": "trials", "stage": "teachers" if is_teacher else "stages"}
        for name, (probe, config) in self._probes.items():
            if whose.get(entry.kind) in probe.of:
                yield name, probe, config
