"""A sweep on a cluster that grows and shrinks: nodes come, one is lost, all go in the end."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from raykd.config.load import checked_run
from raykd.ray_cluster.connect import LOCAL
from raykd.runs.metrics import evaluations
from raykd.runs.paths import run_paths
from raykd.sweep.record import State
from raykd.train.run import Listener, train_run

from tests.ray.support.autoscaled_sweep import NUM_TRIALS, swept_with_a_lost_node
from tests.ray.support.autoscaling import autoscaled_ray

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(900)]

MAX_NODES = 2

_SILENT = Listener(on_record=lambda _: None, on_message=lambda _: None, should_stop=lambda: False)


def test_a_sweep_says_why_it_waits_brings_nodes_up_survives_a_loss_and_lets_them_go(
    tmp_path: Path,
) -> None:
    with autoscaled_ray(max_nodes=MAX_NODES) as cluster:
        assert cluster.moments()[-1].nodes == ()
        story = swept_with_a_lost_node(tmp_path, cluster, num_nodes=MAX_NODES)
    # Not what was there at the start, which was nothing, but what may come.
    room = "2 at a time, on 2 x 1 CPU, 0 GPU: what the autoscaler may start"
    assert room in story.printed
    # What Ray itself prints of a lost node.
    assert "state-dump" not in story.printed
    # Two may run at a time: what comes after them is a queue, and waits for nothing.
    why = (
        r"waiting \d+ s: 2 trials need 1 CPU each; 0 of 0 CPUs are free; "
        r"the autoscaler is starting 2 of at most 2 nodes"
    )
    assert re.fullmatch(why, story.waits[0])
    assert max(len(moment.nodes) for moment in story.moments) == MAX_NODES
    assert max(moment.running for moment in story.moments) == MAX_NODES
    after = story.moments[story.killed_after :]
    # The other one went on without it.
    assert any(moment.nodes and story.killed not in moment.nodes for moment in after)
    assert story.moments[-1].nodes == ()
    records = list(story.ledger.records.values())
    assert [record.state for record in records] == [State.DONE] * (NUM_TRIALS + 1)
    lost = [record for record in records if any(a.error_class for a in record.attempts)]
    assert lost
    for record in lost:
        # Alone in this process, with nobody who touches it.
        config = checked_run(record.config, origin=record.id)
        alone = replace(config, output_uri=str(tmp_path / "alone"))
        train_run(alone, fresh=False, address=LOCAL, listener=_SILENT)
        assert_same(record.evaluations, evaluations(run_paths(alone).metrics))


def assert_same(found: Sequence[dict[str, float]], expected: Sequence[dict[str, float]]) -> None:
    assert [each["step"] for each in found] == [each["step"] for each in expected]
    for mine, its in zip(found, expected, strict=True):
        assert mine["eval/loss"] == pytest.approx(its["eval/loss"], rel=1e-5)
