"""Keep the libraries underneath from talking over raykd's own few lines."""

import logging
import os
import warnings


def quiet_libraries() -> None:
    """Silence progress bars and chatter; raykd's own warnings go to standard error.

    To be called before the libraries are imported: they read the environment once.
    """
    # setdefault throughout: whoever sets a variable wants to see more.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # tokenizers warns of every fork after its threads have begun.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Ray Train replaces print() in workers by one that writes to its own log.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    # Nothing of a study goes to a third party that was not asked for.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\b.*")
    logging.basicConfig(level=logging.WARNING, format="raykd: %(message)s")
    logging.getLogger("ray").setLevel(logging.ERROR)
