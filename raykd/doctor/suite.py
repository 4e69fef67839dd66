"""All checks of the objective, in the order in which a reader would ask."""

from collections.abc import Iterator

from raykd.doctor import batches, layers, objective, positions, values
from raykd.doctor.subject import Check, Finding, Setting, Subject

CHECKS: tuple[Check, ...] = (
    positions.labels,
    positions.cross_entropy,
    batches.padding,
    batches.micro_batches,
    values.formulas,
    values.precision,
    values.temperature,
    values.zero,
    values.non_negative,
    values.shift,
    values.extremes,
    layers.layer_formulas,
    layers.layer_zero,
    objective.schedules,
    objective.teacher_mode,
    objective.teacher_gradient,
    objective.detached,
)


def findings(subject: Subject, setting: Setting) -> Iterator[Finding]:
    """Run the checks one after the other; same pieces and setting, same findings."""
    for check in CHECKS:
        yield check(subject, setting)
