"""The ledger knows the sizes of a run's models as they are exported."""

import json
from pathlib import Path

import pytest
from raykd.config.load import as_yaml, checked_sweep
from raykd.config.schema.run import TaskName
from raykd.models.files import config_with_languages
from raykd.models.per_language import PerLanguageModel
from raykd.sweep.ledger import read_ledger
from raykd.sweep.plan.model_sizes import model_size
from raykd.sweep.plan.plan import plan_sweep
from transformers import CONFIG_MAPPING

from tests.small_runs import TINY_BERT, small_data, small_run
from tests.sweeps import ledger_of, write_ledger
from tests.tiny_models import tiny_model

FAMILIES: dict[str, TaskName] = {
    "bert": "masked_lm",
    "roberta": "sequence_classification",
    "distilbert": "token_classification",
    "deberta-v2": "masked_lm",
    "modernbert": "sequence_classification",
    "gpt2": "causal_lm",
    "qwen3": "token_classification",
}


@pytest.mark.parametrize(("model_type", "task"), FAMILIES.items(), ids=FAMILIES)
def test_a_size_counts_every_parameter_once_and_makes_the_model_again(
    model_type: str, task: TaskName
) -> None:
    model = tiny_model(model_type, task)
    size = model_size(model.config, task)
    assert size.total == sum(parameter.numel() for parameter in model.parameters())
    fields = json.loads(json.dumps(size.fields))
    again = CONFIG_MAPPING[size.model_type].from_dict(fields)
    assert model_size(again, task) == size


def test_a_tied_head_is_counted_with_the_embeddings() -> None:
    size = model_size(tiny_model("gpt2", "causal_lm").config, "causal_lm")
    assert size.head == 0
    assert size.embeddings >= 67 * 32


def test_a_head_for_each_language_counts_as_often_as_there_are_languages() -> None:
    task: TaskName = "sequence_classification"
    model, languages = tiny_model("bert", task), ("de", "en", "sw")
    size = model_size(config_with_languages(model.config, languages), task)
    parameters = PerLanguageModel(model, languages).parameters()
    assert size.total == sum(parameter.numel() for parameter in parameters)
    assert size.architecture == "bert, 2 layers x 32, a head for each of 3 languages"


def test_a_teacher_that_is_to_be_trained_is_as_large_as_its_run_leaves_it(tmp_path: Path) -> None:
    small_data(tmp_path / "data")
    task = {"task": "sequence_classification"}
    teacher = small_run(
        tmp_path, name="teacher", student={"architecture": TINY_BERT | {"num_layers": 1}}, **task
    )
    (tmp_path / "teacher.yaml").write_text(as_yaml(teacher))
    base = small_run(
        tmp_path,
        name="student",
        teachers={"old": {"model": "not-there"}},
        losses={"cross_entropy": {}, "forward_kl": {}},
        student={"architecture": dict(TINY_BERT), "projections": "per_language"},
        **task,
    )
    (tmp_path / "base.yaml").write_text(as_yaml(base))
    sweep = {
        "name": "study",
        "base": str(tmp_path / "base.yaml"),
        "teachers": {"small": {"run": str(tmp_path / "teacher.yaml")}},
        "output_uri": str(tmp_path / "sweeps"),
    }
    records = plan_sweep(checked_sweep(sweep, origin="study.yaml")).records
    (stage,) = (record for record in records if record.kind == "stage")
    control, trial = sorted(
        (record for record in records if record.kind == "trial"), key=lambda r: len(r.models)
    )
    assert trial.models["teachers.old"] == stage.models["student"]
    assert control.models == {"student": trial.models["student"]}
    # Of two languages and three classes.
    student = trial.models["student"]
    assert (student.num_heads, student.fields["num_labels"]) == (2, 3)
    ledger = ledger_of(records, uri=str(tmp_path / "ledger"))
    write_ledger(ledger)
    assert read_ledger(ledger.uri) == ledger
