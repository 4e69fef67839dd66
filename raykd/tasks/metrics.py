"""From the sums of an evaluation to its metrics."""

import math
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from raykd.config.schema.data import SEEN, UNSEEN
from raykd.errors import DataError
from raykd.tasks.tally import NUM_SCALARS, Tally, has_entities
from raykd.tasks.task import Task

FloatArray = npt.NDArray[np.float64]


def metrics(
    total: Tally, *, task: Task, languages: tuple[str, ...], unseen: Collection[str] = ()
) -> dict[str, float]:
    """Return the metrics of an evaluation, by name.

    ``loss`` (nats per scored position) and ``accuracy`` for every task that scores classes or a
    vocabulary; ``perplexity`` where the vocabulary is scored; ``macro_f1`` and ``matthews`` where
    classes are; ``entity_f1`` where the classes are entity labels; ``agreement``, the share of
    positions where student and teacher predict the same, where there is a teacher. Where a number
    is predicted: ``loss`` (mean squared error), ``pearson`` and ``spearman``. With positions in
    more than one language, the same for each, such as ``accuracy/de``. Where languages are unseen,
    the same for the seen ones together and for the unseen ones, such as ``unseen/accuracy``; for
    neither where it has no position.

    Args:
        total: The tally of every row of the split.
        task: What made the batches.
        languages: Names of the G languages of the tally.
        unseen: Those of them that are not trained on.

    Raises:
        DataError: No position was scored.
    """
    sums_GS: FloatArray = total.sums_GS.cpu().numpy()
    scored = [index for index, sums_S in enumerate(sums_GS) if _positions(sums_S) > 0]
    if not scored:
        message = f"evaluation: no position was scored for {task.name}; choose a larger split"
        raise DataError(message)
    numbers_N3 = None if total.numbers_N3 is None else total.numbers_N3.cpu().numpy()
    by_name = _metrics(sums_GS.sum(axis=0), task, numbers_N3)
    if unseen:
        for group, is_unseen in ((SEEN, False), (UNSEEN, True)):
            rows = [index for index in scored if (languages[index] in unseen) == is_unseen]
            if rows:
                numbers = _of_languages(numbers_N3, rows)
                of_group = _metrics(sums_GS[rows].sum(axis=0), task, numbers)
                by_name |= {f"{group}/{name}": value for name, value in of_group.items()}
    if len(scored) > 1:
        for index in scored:
            of_language = _metrics(sums_GS[index], task, _of_languages(numbers_N3, [index]))
            by_name |= {f"{name}/{languages[index]}": of_language[name] for name in of_language}
    return by_name


def macro_f1(right_K: FloatArray, predicted_K: FloatArray, true_K: FloatArray) -> float:
    """Return the mean of the classes' F1, over the classes that are true or predicted at all."""
    occurs_K = predicted_K + true_K > 0
    return float((2 * right_K[occurs_K] / (predicted_K + true_K)[occurs_K]).mean())


def matthews(right_K: FloatArray, predicted_K: FloatArray, true_K: FloatArray) -> float:
    """Return the correlation of predicted and true classes (Gorodkin, 2004), from -1 to 1.

    It is 0 where all positions have one class, or are predicted to.
    """
    num_positions = true_K.sum()
    covariance = right_K.sum() * num_positions - predicted_K @ true_K
    of_predicted = num_positions**2 - predicted_K @ predicted_K
    of_true = num_positions**2 - true_K @ true_K
    if of_predicted == 0 or of_true == 0:
        return 0.0
    return float(covariance / math.sqrt(of_predicted * of_true))


def pearson(predicted_N: FloatArray, true_N: FloatArray) -> float:
    """Return the correlation of predicted and true numbers, from -1 to 1.

    It is 0 where all numbers are the same, or are predicted to be.
    """
    # Not by the deviations: the mean of equal numbers may differ from them in its last digit.
    if np.ptp(predicted_N) == 0 or np.ptp(true_N) == 0:
        return 0.0
    x_N, y_N = predicted_N - predicted_N.mean(), true_N - true_N.mean()
    return float(x_N @ y_N / math.sqrt((x_N @ x_N) * (y_N @ y_N)))


def spearman(predicted_N: FloatArray, true_N: FloatArray) -> float:
    """Return the correlation of the ranks, from -1 to 1; equal numbers share their mean rank.

    It is 0 where ``pearson`` is.
    """
    return pearson(_ranks(predicted_N), _ranks(true_N))


def _ranks(values_N: FloatArray) -> FloatArray:
    _, places_N, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[places_N]


def _of_languages(numbers_N3: FloatArray | None, languages: Sequence[int]) -> FloatArray | None:
    return None if numbers_N3 is None else numbers_N3[np.isin(numbers_N3[:, 0], languages)]


def _positions(sums_S: FloatArray) -> float:
    return float(sums_S[1])


def _metrics(sums_S: FloatArray, task: Task, numbers_N3: FloatArray | None) -> dict[str, float]:
    loss, positions, right, compared, agreed, *entities = sums_S[:NUM_SCALARS].tolist()
    if numbers_N3 is not None:
        _, predicted_N, true_N = numbers_N3.T
        return {
            "loss": loss / positions,
            "pearson": pearson(predicted_N, true_N),
            "spearman": spearman(predicted_N, true_N),
        }
    by_name = {"loss": loss / positions, "accuracy": right / positions}
    if task.class_names is None:
        by_name["perplexity"] = _perplexity(by_name["loss"])
    else:
        right_K, predicted_K, true_K = sums_S[NUM_SCALARS:].reshape(3, -1)
        by_name["macro_f1"] = macro_f1(right_K, predicted_K, true_K)
        by_name["matthews"] = matthews(right_K, predicted_K, true_K)
    if has_entities(task):
        by_name["entity_f1"] = _f1(*entities)
    if compared:
        by_name["agreement"] = agreed / compared
    return by_name


def _perplexity(loss: float) -> float:
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def _f1(right: float, predicted: float, true: float) -> float:
    """Return the harmonic mean of precision and recall; 0 where there is nothing to find."""
    return 2 * right / (predicted + true) if predicted + true else 0.0
