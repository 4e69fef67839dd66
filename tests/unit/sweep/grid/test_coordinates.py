"""Labels are short, and never the same for different arms."""

from raykd.sweep.grid.coordinates import coordinates_of, short_keys, value_text

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
