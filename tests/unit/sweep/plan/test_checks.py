"""A metric that the data does not give is a problem before the sweep starts."""

from pathlib import Path

from raykd.sweep.plan.checks import metric_problem

from tests.small_runs import small_data, small_run


def test_entities_are_compared_only_where_the_classes_are_entity_labels(tmp_path: Path) -> None:
    small_data(tmp_path / "data")
    small_data(tmp_path / "other", word_labels=("O", "B-X", "X"))
    right = small_run(tmp_path, task="token_classification")
    other = small_run(tmp_path, task="token_classification", data__uri=str(tmp_path / "other"))
    assert metric_problem("eval/entity_f1/de", right) is None
    assert metric_problem("eval/entity_f1", other) == (
        "metric=eval/entity_f1: no entity F1: class 'X' is not O, and begins with none of B-, I-, "
        "E-, S-"
    )
    assert metric_problem("eval/macro_f1", other) is None
