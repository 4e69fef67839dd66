"""Keep the libraries underneath from talking over raykd's own few lines."""

import logging
import os
import warnings


def quiet_libraries() -> None:
    """Silence progress bars and chatter; raykd's own warnings go to standard error.

    To be called before the libraries are imported: they read the environment once.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\b.*")
    logging.basicConfig(level=logging.WARNING, format="raykd: %(message)s")
    logging.getLogger("ray").setLevel(logging.ERROR)
