"""Everything wrong with a run is found before it starts, all at once."""

from pathlib import Path
from typing import Any

import pytest
from raykd.config.schema.run import RunConfig
from raykd.errors import ConfigError
from raykd.models.load import save_model
from raykd.models.parts import num_parameters
from raykd.planning.run_plan import Plan, plan_run, require_runnable
from raykd.train.run import Listener, train_run

from tests.prepared import VOCAB_SIZE, word_tokenizer
from tests.small_runs import TINY_BERT, small_data, small_run
from tests.tiny_models import tiny_model


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    small_data(tmp_path / "data")
    return tmp_path


def teacher(path: Path, **changes: Any) -> dict[str, Any]:
    """Save a tiny model and return a teachers section that names it."""
    save_model(tiny_model("bert", "masked_lm", **changes), path)
    return {"small": {"model": str(path)}}


def problems(config: RunConfig) -> str:
    return "\n".join(plan_run(config).problems)


def test_a_good_run_has_sizes_and_no_problems(directory: Path) -> None:
    plan = plan_run(
        small_run(
            directory,
            teachers=teacher(directory / "teacher", num_layers=4),
            student={"architecture": {"num_layers": 2}, "init": {"copy_layers": {}}},
            losses={"forward_kl": {}},
        )
    )
    assert plan.problems == ()
    assert plan.start is not None
    assert plan.start.layers == (1, 3)
    assert all(origin.how == "copied" for origin in plan.start.provenance.values())
    assert plan.progress.startswith("nothing yet")
    assert plan.data is not None
    assert (plan.data.train_rows, plan.data.scored_rows) == (90, {"eval_split": 21})
    assert plan.student is not None
    four_layers = num_parameters(tiny_model("bert", "masked_lm", num_layers=4))
    assert plan.teachers["small"].parameters == four_layers
    assert plan.student.parameters.layers == four_layers.layers // 2
    assert plan.memory_bytes is not None
    require_runnable(plan)


def test_a_fraction_of_the_rows_is_what_epochs_and_tokens_are_counted_of(directory: Path) -> None:
    of_run = {"task": "sequence_classification", "train__num_steps": None, "train__num_epochs": 2}
    whole = plan_run(small_run(directory, **of_run)).data
    plan = plan_run(small_run(directory, data__fraction=0.2, **of_run))
    assert plan.problems == ()
    assert plan.data is not None
    assert whole is not None
    # 20 and 70 rows in six classes, each rounded by half a row at most.
    rows = plan.data.train_rows
    assert abs(rows - 18) <= 3
    assert plan.num_steps == -(-2 * rows // 8)
    assert plan.data.train_tokens / rows == pytest.approx(
        whole.train_tokens / whole.train_rows, rel=0.1
    )
    assert plan.data.scored_rows == whole.scored_rows


def test_a_share_of_a_student_needs_less_memory(directory: Path) -> None:
    def needed(*, num_workers: int, is_sharded: bool) -> int:
        cluster = {"num_workers": num_workers, "shard_student": is_sharded}
        architecture = TINY_BERT | {"num_layers": 24, "hidden_size": 64}
        plan = plan_run(
            small_run(directory, cluster=cluster, student={"architecture": architecture})
        )
        assert plan.memory_bytes is not None
        assert plan.student is not None
        sizes.append(plan.student.parameters.total)
        return plan.memory_bytes

    sizes: list[int] = []
    whole, shared = (needed(num_workers=4, is_sharded=shares) for shares in (False, True))
    saved, total = whole - shared, sizes[0]
    assert total * 16 / 2 < saved < total * 16 * 3 / 4
    alone, still_alone = (needed(num_workers=1, is_sharded=shares) for shares in (False, True))
    assert alone == still_alone


def test_a_worker_has_room_for_its_share_of_a_checkpoint(directory: Path) -> None:
    architecture = TINY_BERT | {"num_layers": 24, "hidden_size": 64}

    def plan(**cluster: Any) -> Plan:
        return plan_run(
            small_run(directory, cluster=cluster, student={"architecture": architecture})
        )

    needed = {count: plan(num_workers=count).memory_bytes or 0 for count in (1, 2, 4)}
    student = plan().student
    assert student is not None
    # Weights, gradients, moments; and in other memory weights and moments.
    assert needed[1] > student.parameters.total * (16 + 12)
    # Moments are dealt out; the first worker's share is never less than the weights.
    assert needed[1] - needed[2] == student.parameters.total * 6
    assert needed[1] - needed[4] == student.parameters.total * 8


def test_a_teacher_that_runs_beside_the_student_needs_memory_for_a_layer(directory: Path) -> None:
    teachers = teacher(directory / "teacher", num_layers=4, hidden_size=64)

    def needed(*, overlaps: bool, **section: Any) -> int:
        changes = {"teachers": {"small": teachers["small"] | section}}
        plan = plan_run(
            small_run(
                directory,
                losses={"forward_kl": {}},
                cluster={"num_workers": 0, "overlap_teacher": overlaps},
                **changes,
            )
        )
        assert plan.memory_bytes is not None
        return plan.memory_bytes

    # 3 rows of 16 tokens, 4 heads; the formula is for 16 bits, and these are 32.
    layer = 3 * 16 * (34 * 64 + 5 * 4 * 16) * 2
    assert needed(overlaps=True) - needed(overlaps=False) == layer
    assert needed(overlaps=True, cache={}) == needed(overlaps=False, cache={})


def test_each_teacher_needs_memory_for_its_scores_of_a_vocabulary(directory: Path) -> None:
    path = directory / "teacher"
    save_model(tiny_model("bert", "masked_lm"), path)

    def needed(*names: str) -> int:
        teachers = {name: {"model": str(path)} for name in names}
        plan = plan_run(small_run(directory, teachers=teachers, losses={"forward_kl": {}}))
        assert plan.memory_bytes is not None
        assert plan.shared_bytes is not None
        return plan.memory_bytes - plan.shared_bytes

    of_scores, rest = divmod(needed("a", "b") - needed("a"), 4 * VOCAB_SIZE)
    assert (of_scores > 0, rest) == (True, 0)


def test_a_run_that_may_write_a_cache_needs_memory_for_the_whole_teacher(directory: Path) -> None:
    shape = {"num_layers": 12, "hidden_size": 128, "intermediate_size": 512}
    section = teacher(directory / "teacher", **shape)["small"] | {"cache": {}}
    plan = plan_run(small_run(directory, teachers={"small": section}, losses={"forward_kl": {}}))
    assert plan.memory_bytes is not None
    assert plan.shared_bytes is not None
    of_layers = 4 * plan.teachers["small"].parameters.layers
    # What it has while it trains leaves the teacher's layers out.
    assert plan.memory_bytes - plan.shared_bytes > of_layers > 8_000_000


def test_a_sharded_student_is_not_compiled(directory: Path) -> None:
    cluster = {"num_workers": 2, "shard_student": True}
    with pytest.raises(ConfigError, match=r"shard_student and train\.compile are both true"):
        small_run(directory, cluster=cluster, train__compile=True)


def test_steps_follow_from_epochs(directory: Path) -> None:
    config = small_run(directory, train={"num_epochs": 1.5, "global_batch_size": 8})
    assert plan_run(config).num_steps == 17  # 135 of 90 rows, 8 a step


def test_what_a_start_would_find(directory: Path) -> None:
    config = small_run(directory)
    asked = iter(range(1, 10))
    for expected, should_stop in (
        ("a checkpoint of step 3", lambda: next(asked) >= 3),
        ("the run is done", lambda: False),
    ):
        listener = Listener(
            on_record=lambda _: None, on_message=lambda _: None, should_stop=should_stop
        )
        train_run(config, fresh=False, address="local", listener=listener)
        assert plan_run(config).progress.startswith(expected)


def test_missing_data_is_one_problem(tmp_path: Path) -> None:
    assert "data: holds no committed data directory" in problems(small_run(tmp_path))


def test_all_problems_come_at_once(directory: Path) -> None:
    config = small_run(
        directory,
        data__languages=["fr"],
        teachers={"small": {"model": str(directory / "nowhere")}},
        student={"architecture": TINY_BERT | {"num_heads": 3}},
        losses={"forward_kl": {}},
    )
    plan = plan_run(config)
    assert len(plan.problems) == 3
    with pytest.raises(
        ConfigError, match=r"3 problem\(s\)(.|\n)*fr(.|\n)*nowhere(.|\n)*num_heads"
    ):
        require_runnable(plan)


def test_a_teacher_with_another_tokenizer_is_refused(directory: Path) -> None:
    section = teacher(directory / "teacher", settings={"vocab_size": VOCAB_SIZE + 10})
    tokenizer = word_tokenizer()
    tokenizer.save_pretrained(directory / "teacher")
    config = small_run(directory, teachers=section, losses={"forward_kl": {}})
    assert problems(config) == ""
    tokenizer.add_tokens(["other"])
    tokenizer.save_pretrained(directory / "teacher")
    assert "teachers.small.model: the tokenizer of" in problems(config)


def test_a_teacher_with_other_labels_is_refused_with_both_lists(directory: Path) -> None:
    config_of: dict[str, Any] = {"task": "sequence_classification", "losses": {"forward_kl": {}}}
    model = tiny_model("bert", "sequence_classification")
    model.config.id2label = {0: "c", 1: "b", 2: "d"}
    save_model(model, directory / "teacher")
    section = {"small": {"model": str(directory / "teacher")}}
    config = small_run(directory, teachers=section, **config_of)
    assert "['c', 'b', 'd'], but the data has the classes ['a', 'b', 'c']" in problems(config)


def test_a_start_from_a_teacher_that_is_refused_adds_no_problem(directory: Path) -> None:
    config = small_run(
        directory,
        task="sequence_classification",
        teachers=teacher(directory / "teacher"),
        losses={"logit_mse": {}},
        student={"architecture": {"num_layers": 1}, "init": {"copy_layers": {}}},
    )
    (problem,) = plan_run(config).problems
    assert "has no trained head for BertForSequenceClassification" in problem


def test_what_is_taken_for_granted_and_what_will_lack_is_said(directory: Path) -> None:
    model = tiny_model("bert", "sequence_classification")
    model.config.id2label = {index: f"LABEL_{index}" for index in range(3)}
    save_model(model, directory / "teacher")
    section = {"small": {"model": str(directory / "teacher")}}
    config = small_run(
        directory, task="sequence_classification", teachers=section, losses={"forward_kl": {}}
    )
    (remark,) = plan_run(config).remarks
    assert remark.startswith("teachers.small: its classes have no names")
    assert "LABEL_0 is a, LABEL_1 is b, LABEL_2 is c" in remark
    architecture = TINY_BERT | {"num_layers": 3, "settings": {"vocab_size": VOCAB_SIZE}}
    grown = small_run(
        directory,
        task="sequence_classification",
        student={
            "architecture": architecture
            | {"hidden_size": 32, "num_heads": 4, "intermediate_size": 48},
            "init": {"remap": {"source": str(directory / "teacher")}},
        },
    )
    (remark,) = plan_run(grown).remarks
    assert remark.startswith("student.init: its classes have no names")
    assert plan_run(small_run(directory, task="token_classification")).remarks == ()
    small_data(directory / "other", word_labels=("O", "B-X", "X"))
    other = {"data__uri": str(directory / "other")}
    assert plan_run(small_run(directory, task="token_classification", **other)).remarks == (
        "no entity F1: class 'X' is not O, and begins with none of B-, I-, E-, S-",
    )


def test_a_teacher_that_reads_too_little_is_refused(directory: Path) -> None:
    section = {"small": {"model": str(directory / "teacher")}}
    model = tiny_model("bert", "masked_lm")
    model.config.max_position_embeddings = 8
    model.config.save_pretrained(directory / "teacher")
    config = small_run(directory, teachers=section, losses={"forward_kl": {}})
    assert "reads at most 8 tokens, but rows of" in problems(config)


@pytest.mark.parametrize(
    ("task", "model_type", "message"),
    [
        ("causal_lm", "bert", "bert models serve .*, not causal_lm"),
        ("masked_lm", "gpt2", "gpt2 models serve .*, not masked_lm"),
    ],
)
def test_a_task_that_a_family_does_not_serve(
    directory: Path, task: str, model_type: str, message: str
) -> None:
    config = small_run(directory, task=task, student__architecture__model_type=model_type)
    with pytest.raises(ConfigError, match=message):
        require_runnable(plan_run(config))


def test_too_many_layers_to_copy(directory: Path) -> None:
    config = small_run(
        directory,
        teachers=teacher(directory / "teacher"),
        student={"architecture": {"num_layers": 3}, "init": {"copy_layers": {}}},
        losses={"forward_kl": {}},
    )
    assert "student.init.copy_layers: a student of 3 layers cannot follow" in problems(config)
