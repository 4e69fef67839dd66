"""A user who gives up on a store that is away gets the terminal back."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from raykd.config.load import as_yaml
from raykd.runs import append_log
from raykd.runs.paths import run_paths
from raykd.train.run import Listener, followed

from tests.conftest import FaultyS3
from tests.heaps import heaps_of_threads
from tests.small_runs import small_data, small_run

_POLL_SECONDS = 0.1


def test_a_run_that_fails_does_not_wait_for_its_records(
    faulty_s3: FaultyS3, tmp_path: Path
) -> None:
    small_data(tmp_path / "data")
    paths = run_paths(small_run(tmp_path, output_uri=f"{faulty_s3.uri}/runs"))
    nobody = Listener(
        on_record=lambda _: None, on_message=lambda _: None, should_stop=lambda: False
    )
    # Tried again as in a training, the last look would take longer than a test may.
    with ExitStack() as stack, followed(paths, nobody):
        stack.enter_context(faulty_s3.proxy.outage())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_second_interrupt_ends_a_run_whose_store_is_away(
    faulty_s3: FaultyS3, tmp_path: Path
) -> None:
    small_data(tmp_path / "data")
    config = small_run(
        tmp_path,
        output_uri=f"{faulty_s3.uri}/runs",
        train__num_steps=100_000,
        train__eval_every_steps=100_000,
    )
    (file := tmp_path / "run.yaml").write_text(as_yaml(config))
    program = subprocess.Popen(
        [sys.executable, "-m", "raykd", "train", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    pause = threading.Event()
    while not append_log.exists(run_paths(config).metrics):
        assert program.poll() is None, program.communicate()[0]
        pause.wait(_POLL_SECONDS)
    heaps = heaps_of_threads(program.pid)
    with faulty_s3.proxy.outage():
        program.send_signal(signal.SIGINT)
        # It cannot leave in order: the checkpoint does not get to the store.
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(timeout=5)
        program.send_signal(signal.SIGINT)
        output, _ = program.communicate(timeout=180)
    assert program.returncode == 1, output
    # Threads that talk to the store have no heap of their own, which would grow.
    assert heaps == []
