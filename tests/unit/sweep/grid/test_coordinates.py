"""Labels are short, and never the same for different arms."""

from raykd.sweep.grid.coordinates import coordinates_of, run_labels, short_keys, value_text

from tests.study_ledger import study_ledger, tuning_of
from tests.sweeps import trial_of


def test_a_key_is_cut_to_the_shortest_end_that_no_other_key_has() -> None:
    assert short_keys(["losses.forward_kl.weight", "student.init"]) == {
        "losses.forward_kl.weight": "weight",
        "student.init": "init",
    }
    assert short_keys(["a.b.weight", "a.c.weight", "c.c.weight"]) == {
        "a.b.weight": "b.weight",
        "a.c.weight": "a.c.weight",
        "c.c.weight": "c.c.weight",
    }
    assert short_keys(["weight", "a.weight"]) == {"weight": "weight", "a.weight": "a.weight"}


def test_values_are_told_in_short() -> None:
    assert value_text(None) == "none"
    assert value_text({"remap": {"source": "x"}}) == "remap"
    assert value_text("4 -> 1") == "4 -> 1"
    assert value_text("s3://bucket/data/part") == "part"
    assert value_text("team/model") == "team/model"
    assert value_text(0.0001) == "0.0001"
    assert value_text([1, 2.5]) == "1,2.5"
    assert value_text(True) == "true"
    assert value_text({"a": 1, "b": 2}) == '{"a":1,"b":2}'


def test_values_that_look_the_same_in_short_are_told_in_full() -> None:
    arms = {
        "x": trial_of({"student.init": {"remap": {"source": "a"}}}),
        "y": trial_of({"student.init": {"remap": {"source": "b"}}}),
        "z": trial_of({"student.init": {"copy": {}}}),
    }
    found = coordinates_of(arms)
    assert found.label("x") == 'init={"remap":{"source":"a"}}'
    assert found.label("y") == 'init={"remap":{"source":"b"}}'
    assert found.label("z") == "init=copy"


def test_a_label_reads_like_the_study() -> None:
    arm = trial_of(
        {
            "teacher": "small",
            "quality": 0.5,
            "losses.forward_kl.weight": "4 -> 1",
            "student.init": None,
        }
    )
    found = coordinates_of({"a": arm})
    assert found.label("a") == "teacher=small quality=0.5 weight=4 -> 1 init=none"


def test_runs_of_all_kinds_have_names_that_tell_them_apart() -> None:
    records = study_ledger().records
    labels = run_labels(records.values())
    assert list(labels) == list(records)
    assert len(set(labels.values())) == len(labels)
    by_kind: dict[str, list[str]] = {}
    for record in records.values():
        by_kind.setdefault(record.kind, []).append(labels[record.id])
    assert by_kind["stage"] == ["stage encoder", "teacher small"]
    assert by_kind["tuning"][2:4] == [
        "tuning learning_rate=0.4 control",
        "tuning learning_rate=0.1 weight=1",
    ]
    assert by_kind["trial"][2:4] == ["control seed=3", "weight=1 seed=1"]
    assert by_kind["probe"][0] == "probe two seed=1 at 1 of stage encoder"
    assert by_kind["probe"][-1] == "probe two seed=2 at 0.1 of weight=2 seed=3"
    # Tuning runs have a name before there is any trial.
    early = [record for record in records.values() if record.kind == "tuning"]
    assert set(run_labels(early).values()) == set(by_kind["tuning"])


def test_a_tuned_key_is_told_apart_from_the_coordinates() -> None:
    tried = tuning_of({"losses.forward_kl.weight": 1}, {"losses.cross_entropy.weight": 0.5})
    assert run_labels([tried]) == {tried.id: "tuning cross_entropy.weight=0.5 weight=1"}
