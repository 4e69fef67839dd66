"""Whether what a run learns by fits the labels of its data: classes, or numbers."""

from collections.abc import Iterator

from raykd.distill.setup import RunSetup

_OF_NUMBERS = ("squared_error", "logit_mse")
"""Terms on scores that mean something where one number is predicted."""


def objective_problems(setup: RunSetup) -> list[str]:
    """Return what is for classes where the label is a number, and the other way round.

    Losses, and all that follows probabilities or accuracies, each naming its key.
    """
    return list(_of_numbers(setup) if setup.predicts_number else _of_classes(setup))


def _of_numbers(setup: RunSetup) -> Iterator[str]:
    config = setup.config
    losses, weights, mixing = config.losses, config.teacher_weights, config.data.mixing
    number = f"the label of {setup.manifest.uri} is a number"
    if losses.cross_entropy is not None:
        yield (
            f"losses.cross_entropy is for classes, but {number}: use losses.squared_error, of "
            "weight 0 where only controls train on labels"
        )
    for name in losses.teacher_terms:
        if name not in (*_OF_NUMBERS, *losses.layer_terms):
            yield (
                f"losses.{name} compares probabilities of classes, but {number}: use "
                "losses.logit_mse"
            )
    for name, teacher in config.teachers.items():
        if teacher.unigram is not None:
            yield f"teachers.{name}.unigram says how likely classes are, but {number}"
    if weights is not None and weights.is_by_score:
        yield (
            "teacher_weights: importance, max_margin and entropy follow probabilities of classes, "
            f"but {number}: use uniform, fixed or by_language"
        )
    if mixing is not None and mixing.adaptive is not None:
        yield f"data.mixing.adaptive follows accuracies, but {number}: use temperature or fixed"


def _of_classes(setup: RunSetup) -> Iterator[str]:
    if setup.config.losses.squared_error is None:
        return
    if setup.config.task == "sequence_classification":
        yield (
            "losses.squared_error is for a label that is a number, but "
            f"{setup.manifest.uri} has classes: use losses.cross_entropy, or prepare the data "
            "with --label-type number"
        )
    else:
        yield (
            "losses.squared_error is for task=sequence_classification and a label that is a "
            f"number, got task={setup.config.task}: use losses.cross_entropy"
        )
