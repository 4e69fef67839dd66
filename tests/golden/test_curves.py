"""Numbers change with the version of results, and never without."""

from pathlib import Path

import pytest
from raykd.config.identity import RESULTS_VERSION
from raykd.config.schema.run import TaskName

from tests.golden.curves import RELATIVE_TOLERANCE, TASKS, losses, read_curve


@pytest.mark.parametrize("task", TASKS)
def test_a_run_has_the_losses_of_its_version_of_results(task: TaskName, tmp_path: Path) -> None:
    version, expected = read_curve(task)
    assert version == RESULTS_VERSION, "python -m tests.golden.curves writes them anew"
    found = losses(task, tmp_path)
    assert found == pytest.approx(expected, rel=RELATIVE_TOLERANCE), (
        "raykd computes something else: raise RESULTS_VERSION if that is meant"
    )
