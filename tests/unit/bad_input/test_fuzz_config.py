"""Whatever a run or a sweep file holds: a configuration, or a ConfigError, and nothing else."""

import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raykd.config.keys import key_docs
from raykd.config.load import checked_run, checked_sweep
from raykd.config.schema.run import RunConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError

_NAMES = sorted(
    {part for schema in (RunConfig, SweepConfig) for d in key_docs(schema) for part in d.parts}
)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["1 -> 0", "${oc.env:HOME}", "???", "bert", "de", "1 @ 2", "-> @"])
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_NAMES) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
_MAPPINGS = st.dictionaries(st.sampled_from(_NAMES) | st.text(max_size=5), _VALUES, max_size=5)
_RUN: dict[str, Any] = {
    "name": "small",
    "task": "masked_lm",
    "data": {"uri": "data", "mixing": {"fixed": {"weights": {"de": 1.0}}}},
    "student": {"architecture": {"num_layers": 2, "settings": {"a": 1}}, "init": {"remap": {}}},
    "teachers": {"big": {"model": "x", "languages": ["de"]}},
    "teacher_weights": {"fixed": {"weights": {"big": 1.0}}},
    "losses": {"forward_kl": {"weight": "1 -> 0"}, "hidden_states": {"layers": [0, 1]}},
    "train": {"num_steps": 2, "seed": 3},
    "checkpoint": {"milestones": [0.5]},
}
_SWEEP: dict[str, Any] = {
    "name": "study",
    "base": "run.yaml",
    "teachers": {"big": {"run": "t.yaml", "overrides": {"train.seed": 1}, "milestones": [0.5]}},
    "search": {"train.seed": {"grid": [1]}, "optimizer.beta1": {"uniform": [0.1, 0.2]}},
    "pairs": {"size": {"s": {"a": 1}, "l": {"a": 2}}},
    "exclude": [{"teacher": "big"}],
    "scheduler": {"asha": {"first_rung": 0.5}},
    "nodes": {"n": {"cpus": 4}},
}
_fast = settings(max_examples=20, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


def _is_told(given: dict[str, Any], *, is_sweep: bool) -> bool:
    try:
        found = (checked_sweep if is_sweep else checked_run)(given, origin="fuzz")
    except ConfigError as error:
        return str(error).startswith("fuzz: ")
    return isinstance(found, SweepConfig if is_sweep else RunConfig)


def _mutated(draw: st.DrawFn, whole: dict[str, Any]) -> dict[str, Any]:
    """Return a mapping with one to three entries replaced, added or removed."""
    result = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        section = result
        while inner := [v for v in section.values() if isinstance(v, dict) and v]:
            if draw(st.booleans()):
                break
            section = draw(st.sampled_from(inner))
        key = draw(st.sampled_from([*section, *_NAMES]))
        if draw(st.booleans()):
            section[key] = draw(_VALUES)
        else:
            section.pop(key, None)
    return result


@st.composite
def _runs(draw: st.DrawFn) -> dict[str, Any]:
    return _mutated(draw, _RUN)


@st.composite
def _sweeps(draw: st.DrawFn) -> dict[str, Any]:
    return _mutated(draw, _SWEEP)


@_fast
@given(_MAPPINGS, st.booleans())
def test_any_mapping_is_a_configuration_or_told(given: dict[str, Any], is_sweep: bool) -> None:
    assert _is_told(given, is_sweep=is_sweep)


@_fast
@given(_runs())
def test_a_changed_run_is_a_run_or_told(given: dict[str, Any]) -> None:
    assert _is_told(given, is_sweep=False)


@_fast
@given(_sweeps())
def test_a_changed_sweep_is_a_sweep_or_told(given: dict[str, Any]) -> None:
    assert _is_told(given, is_sweep=True)
