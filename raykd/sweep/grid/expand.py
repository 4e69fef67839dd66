"""From a sweep file to its runs: stages, tuning runs, trials with controls and seeds, probes."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from raykd.config.identity import run_id
from raykd.config.inputs import Named
from raykd.config.schema.run import RunConfig
from raykd.config.schema.study import TuneConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError, RaykdError
from raykd.runs.inputs import Find, Found, pinned
from raykd.sweep.grid.arms import Arm, Arms, Pair
from raykd.sweep.grid.control import control_of, coordinates_of_control, is_control
from raykd.sweep.grid.entry import Entry, as_run, entry_of, needed_stages, with_milestones
from raykd.sweep.grid.probes import Probes
from raykd.sweep.grid.space import Draws, Point, has_control
from raykd.sweep.grid.stages import Stages, TeacherModel
from raykd.sweep.grid.tuned import NOTHING, Values, chosen_values
from raykd.sweep.record import KIND, Record
from raykd.sweep.tuning import group_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """The runs of some samples that follow the stages."""

    tuning: tuple[Entry, ...] = ()
    trials: tuple[Entry, ...] = ()
    """Each once, a control before what it controls."""

    undecided: tuple[Entry, ...] = ()
    """Trials whose tuned values are still to be chosen, each with the first ones."""

    samples: Sequence[Sequence[Pair]] = ()
    """What the trials are of: each is one of these with a seed."""


class Expansion:
    """Turns draws into runs; reads run files, manifests and weights' hashes once.

    Data or models that cannot be read stand for themselves: who they are is then not known, and
    the runs of the plan have no names that last.

    Raises:
        RaykdError: A file is wrong.
    """

    def __init__(self, sweep: SweepConfig, find: Find) -> None:
        """Read what all runs have in common.

        Args:
            sweep: What is asked for.
            find: Finds inputs, and remembers them.
        """
        self._sweep = sweep
        self.missing: list[str] = []
        """Why inputs cannot be read."""

        self._find = find
        self._made: dict[str, str] = {}
        """Models that runs of the study make, or are still to make, by place: what they are known
        by."""

        self._stages = Stages(sweep, self._pinned, self._made)
        self._arms = Arms(sweep, self._stages)
        self._probes = Probes(sweep, self._stages, self._pinned)
        self.stages = tuple(map(self._as_probed, self._stages.entries))
        """The runs of stages and teachers, each once, after those that it needs."""

        self.probes_of = self._probes.entries_of

    def runs(self, draws: Sequence[Draws], records: Mapping[str, Record] = NOTHING) -> Runs:
        """Return the runs of some samples.

        Args:
            draws: The samples.
            records: What is known of the sweep's runs: values are chosen by it.

        Raises:
            ConfigError: A trial contradicts itself; the message lists every contradiction.
        """
        samples = self._arms.of(draws)
        first = [[arm.pair() for arm in arms] for arms in samples]
        if (tune := self._sweep.tune) is None:
            return Runs(trials=self._trials(first), samples=first)
        every = [arm for arms in samples for arm in arms]
        tuning = self._tuning(every, tune)
        self._require_tried(every, tuning)
        chosen = chosen_values(self._sweep, tune, tuning.values(), records)
        if chosen is None:
            return Runs(tuning=tuple(tuning.values()), undecided=self._trials(first))
        found = [[self._chosen(arm, tuning, chosen) for arm in arms] for arms in samples]
        pairs = [[pair for pair in some if pair is not None] for some in found]
        return Runs(tuning=tuple(tuning.values()), trials=self._trials(pairs), samples=pairs)

    def further(
        self, runs: Runs, *, seeds: Sequence[int], arms: Collection[str]
    ) -> tuple[Entry, ...]:
        """Return the trials of some arms with further seeds.

        They differ from those of the same arm by the seed alone; but a trial has no control where
        the control's arm is not among these.

        Args:
            runs: Whose trials have the first seeds.
            seeds: The further ones.
            arms: Names of arms, controls too.
        """
        trials = [t for t in self._trials(runs.samples, seeds) if t.arm in arms]
        ids = {trial.id for trial in trials}
        return tuple(t if t.control in ids else replace(t, control=None) for t in trials)

    def _tuning(self, arms: Sequence[Arm], tune: TuneConfig) -> dict[str, Entry]:
        """Return the runs that values are chosen by, by their ids."""
        entries: dict[str, Entry] = {}
        for seed in tune.seeds:
            for arm in arms:
                if not arm.point.is_at(tune.where):
                    continue
                for number in range(len(self._arms.candidates)):
                    self._add("tuning", arm.pair(number, number), seed, entries)
        return entries

    def _chosen(
        self, arm: Arm, tuning: Mapping[str, Entry], chosen: Mapping[str, Values]
    ) -> Pair | None:
        """Return an arm with the values that it goes on with; None where there are none."""
        groups = self._groups(arm, tuning)
        if any(group is not None and group not in chosen for group in groups):
            return None
        candidates = self._arms.candidates
        return arm.pair(*(0 if g is None else candidates.index(chosen[g]) for g in groups))

    def _groups(self, arm: Arm, tuning: Mapping[str, Entry]) -> tuple[str | None, str | None]:
        """Return the groups whose values an arm and its control go on with; None needs none."""
        of_control = None
        if arm.pair().tunes_control and has_control(self._sweep, arm.point):
            of_control = self._group(arm, arm.controls[0], tuning)
        return self._group(arm, arm.configs[0], tuning), of_control

    def _group(self, arm: Arm, config: RunConfig, tuning: Mapping[str, Entry]) -> str:
        """Return the group of a run of an arm, its own or its control's."""
        tune = self._sweep.tune
        assert tune is not None  # noqa: S101  only then there is a choice
        tried = as_run(config, kind="tuning", seed=tune.seeds[0])
        if (entry := tuning.get(run_id(self._pinned(tried)))) is not None:
            # A control of several arms is at what these have in common.
            return group_of(tune, entry.coordinates, is_control=entry.control == entry.id)
        coordinates = arm.point.coordinates
        if is_control(config):
            teacher = self._teacher_of(arm.point)
            coordinates = coordinates_of_control(coordinates, control_of(config), teacher)
        return group_of(tune, coordinates, is_control=is_control(config))

    def _require_tried(self, arms: Iterable[Arm], tuning: Mapping[str, Entry]) -> None:
        """Refuse arms that are to go on with what no other one tries.

        Raises:
            ConfigError: There is one; the message names the first.
        """
        tune = self._sweep.tune
        assert tune is not None  # noqa: S101  only then there is a choice
        tried = {
            group_of(tune, entry.coordinates, is_control=entry.control == entry.id)
            for entry in tuning.values()
        }
        for arm in arms:
            for group, name in zip(self._groups(arm, tuning), ("arm", "control"), strict=True):
                if group is not None and group not in tried:
                    told = ", ".join(f"{k}={v}" for k, v in arm.point.coordinates.items())
                    message = (
                        f"tune.where={tune.where} tries no {name} that {told} could go on with, "
                        f"by tune.per={list(tune.per or ())}: let where have one, or per name less"
                    )
                    raise ConfigError(message)

    def _trials(
        self, samples: Iterable[Sequence[Pair]], seeds: Sequence[int] = ()
    ) -> tuple[Entry, ...]:
        """Return the trials of some samples, each once, a control before what it controls."""
        entries: dict[str, Entry] = {}
        for pairs in samples:
            # Seeds outside, arms inside: the first seed of every arm runs before the second of
            # any, so that an early look at the report sees all arms.
            for seed in seeds or self._sweep.seeds or (None,):
                for pair in pairs:
                    self._add("trial", pair, seed, entries)
        # A run without a teacher's loss is a control where something is compared with it.
        controls = entries.keys() & {e.control for e in entries.values() if e.control != e.id}
        return tuple(
            self._as_probed(_settled(e, is_compared=e.control in controls))
            for e in entries.values()
        )

    def _add(self, kind: KIND, pair: Pair, seed: int | None, entries: dict[str, Entry]) -> None:
        """Add a run of an arm with a seed, after its control."""
        values, values_of_control = (self._arms.candidates[number] for number in pair.numbers)
        control = self._pinned(as_run(pair.control, kind=kind, seed=seed))
        # Pinned first: the id holds the fingerprints of the inputs, so that a control is shared by
        # all that read the same content, whatever they call it.
        control_id = run_id(control)
        is_asked = has_control(self._sweep, pair.point) and (kind == "trial" or pair.tunes_control)
        if is_asked or is_control(pair.trial):
            coordinates = coordinates_of_control(
                pair.point.coordinates, control, self._teacher_of(pair.point)
            )
            if (known := entries.get(control_id)) is not None:
                # One control of several points: it is at what they have in common.
                shared = known.coordinates
                coordinates = {k: v for k, v in shared.items() if coordinates.get(k) == v}
            entries[control_id] = entry_of(
                control,
                kind=kind,
                coordinates=coordinates,
                control=control_id,
                needs=needed_stages(control, self._stages.ids),
                tuned=values_of_control if known is None else known.tuned,
                points=() if known is None else known.points,
            )
        own_id = control_id
        if not is_control(pair.trial):
            trial = self._pinned(as_run(pair.trial, kind=kind, seed=seed))
            entry = entry_of(
                trial,
                kind=kind,
                coordinates=pair.point.coordinates,
                control=control_id if kind == "trial" else None,
                needs=needed_stages(trial, self._stages.ids),
                tuned=values,
            )
            own_id = entry.id
            entries.setdefault(own_id, entry)
        entry = entries[own_id]
        if kind == "trial" and pair.point.coordinates not in entry.points:
            points = (*entry.points, pair.point.coordinates)
            entries[own_id] = replace(entry, points=points)

    def _teacher_of(self, point: Point) -> TeacherModel | None:
        if point.teacher is None:
            return None
        return self._stages.teacher(point.teacher, point.quality)

    def _as_probed(self, entry: Entry) -> Entry:
        """Return a run that keeps the models that are probed."""
        fractions = self._probes.fractions_of(entry)
        return replace(entry, config=with_milestones(entry.config, fractions))

    def _pinned(self, config: RunConfig) -> RunConfig:
        """Return a run that names what its inputs hold."""

        def find(key: str, named: Named) -> Found | None:
            if (origin := self._made.get(named.source)) is not None:
                return Found(fingerprint=origin, named=named)
            try:
                return self._find(key, named)
            except RaykdError as error:
                self.missing.append(str(error))
                return Found(fingerprint=f"missing {named.source}", named=named)

        return pinned(config, find)


def _settled(entry: Entry, *, is_compared: bool) -> Entry:
    """Return a trial that says nothing twice, and has a control where that is there."""
    is_one_point = entry.points == (entry.coordinates,)
    is_plain = is_one_point and not (is_compared and entry.control == entry.id)
    return replace(
        entry,
        control=entry.control if is_compared else None,
        points=() if is_plain else entry.points,
    )
