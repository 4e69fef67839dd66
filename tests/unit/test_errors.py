"""Every error survives the trip between Ray's processes and says how the command ends."""

import inspect
import pickle
from typing import cast

import pytest
from raykd import errors
from raykd.errors import DiskFullError, HungWorkerError, RaykdError, StorageError

ERRORS = cast(
    "list[type[RaykdError]]", [error for _, error in inspect.getmembers(errors, inspect.isclass)]
)


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_pickles_with_its_message(error: type[RaykdError]) -> None:
    copy = pickle.loads(pickle.dumps(error("x.yaml: y is 3; set it to 4")))  # noqa: S301
    assert type(copy) is error
    assert str(copy) == "x.yaml: y is 3; set it to 4"


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_stands_in_the_tree_of_the_module_docstring(error: type[RaykdError]) -> None:
    assert issubclass(error, RaykdError)
    assert f" {error.__name__} " in f"{errors.__doc__}".replace("\n", " ")


def test_wrong_inputs_end_with_2_and_failures_with_1() -> None:
    statuses = {error.__name__: error.exit_status for error in ERRORS}
    assert statuses == {
        "RaykdError": 1,
        "ConfigError": 2,
        "DataError": 2,
        "ModelError": 2,
        "MissingHeadError": 2,
        "PublicationError": 2,
        "StorageError": 1,
        "StorageDeniedError": 1,
        "DiskFullError": 1,
        "CheckpointError": 1,
        "ClusterError": 1,
        "DivergedError": 1,
        "NonFiniteLossError": 1,
        "LossSpikeError": 1,
        "HungWorkerError": 1,
        "StoppedError": 1,
        "TrainingFailedError": 1,
        "WorkersFailedError": 1,
    }


def test_only_circumstances_are_worth_another_attempt() -> None:
    assert {error for error in ERRORS if error.retryable} == {
        StorageError,
        DiskFullError,
        HungWorkerError,
    }
