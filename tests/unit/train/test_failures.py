"""Which failures are worth another attempt: a table."""

import pytest
from raykd.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    ModelError,
    NonFiniteLossError,
    StorageError,
)
from raykd.train.failures import Decision, decide, is_deterministic

NAN = NonFiniteLossError("step 3: the loss is nan")
DROPPED = StorageError("s3://x: 503")


@pytest.mark.parametrize(
    ("errors", "failures", "max_failures", "decision"),
    [
        ([], 1, 3, Decision.RETRY),
        ([], 3, 3, Decision.RETRY),
        ([], 4, 3, Decision.RAISE),
        ([], 1, 0, Decision.RAISE),
        ([DROPPED], 1, 1, Decision.RETRY),
        ([DROPPED], 2, 1, Decision.RAISE),
        ([RuntimeError("CUDA error")], 1, 3, Decision.RETRY),
        ([ConnectionResetError()], 3, 3, Decision.RETRY),
        ([NAN], 1, 3, Decision.RAISE),
        ([TypeError("wrong")], 1, 3, Decision.RAISE),
        ([DROPPED, RuntimeError(), NAN], 1, 3, Decision.RAISE),
        *[
            ([error("wrong")], 1, 3, Decision.RAISE)
            for error in (ConfigError, DataError, ModelError, CheckpointError)
        ],
    ],
)
def test_a_failure_is_retried_or_raised(
    errors: list[BaseException], failures: int, max_failures: int, decision: Decision
) -> None:
    assert decide(errors, failures=failures, max_failures=max_failures) is decision


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NAN, True),
        (ConfigError("wrong"), True),
        (TypeError("wrong"), True),
        (KeyError("wrong"), True),
        (DROPPED, False),
        (RuntimeError("connection reset by peer"), False),
        (OSError("no route to host"), False),
    ],
)
def test_errors_of_the_program_would_come_again(error: BaseException, expected: object) -> None:
    assert is_deterministic(error) is expected
