"""Every key of the schema is documented, and found by what a user types."""

import pytest
from raykd.config.keys import KeyDoc, advice_for, key_doc, key_docs


@pytest.mark.parametrize("doc", key_docs(), ids=lambda doc: doc.key)
def test_every_key_says_what_it_means(doc: KeyDoc) -> None:
    assert len(doc.text.split()) > 1


def test_a_key_has_the_type_and_default_of_its_field() -> None:
    found = {doc.key: (doc.type_name, doc.default) for doc in key_docs()}
    expected = {
        "name": ("str", None),
        "data": ("section", None),
        "data.eval_split": ("str | null", "validation"),
        "data.languages": ("list of str | null", "null"),
        "data.mixing.fixed.weights": ("mapping to float", None),
        "data.mixing.fixed.weights.<name>": ("float", None),
        "student.architecture.settings": ("mapping to int | float | bool | str", "{}"),
        "student.init.copy_layers.parts": (
            "list of embeddings | encoder | head",
            "[embeddings, encoder, head]",
        ),
        "losses.forward_kl.scale_by_temperature_squared": ("bool", "true"),
        "optimizer": ("section", "as below"),
        "optimizer.epsilon": ("float", "1e-08"),
        "checkpoint.milestones": ("list of float", "[]"),
        "teachers": ("mapping to section", "{}"),
        "teachers.<name>.dtype": ("float32 | bfloat16 | float16", "float32"),
    }
    assert {key: found[key] for key in expected} == expected


def test_required_is_what_has_no_default() -> None:
    required = {doc.key for doc in key_docs() if doc.is_required and "." not in doc.key}
    assert required == {"name", "task", "data", "student", "losses", "train"}
    assert not next(doc for doc in key_docs() if doc.key == "teachers.<name>").is_required


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("train.seed", "train.seed"),
        ("teachers", "teachers"),
        ("teachers.small", "teachers.<name>"),
        ("teachers.small.model", "teachers.<name>.model"),
        ("student.architecture.settings.hidden_act", "student.architecture.settings.<name>"),
    ],
)
def test_a_typed_key_is_found(typed: str, key: str) -> None:
    doc = key_doc(typed.split("."))
    assert doc is not None
    assert doc.key == key


@pytest.mark.parametrize(
    "typed", ["", "seed", "train.seeds", "train.seed.x", "teachers.a.b", "<name>"]
)
def test_what_is_no_key_is_not_found(typed: str) -> None:
    assert key_doc(typed.split(".")) is None


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("lossez", "did you mean losses?"),
        ("losses.forward_klx", "did you mean losses.forward_kl?"),
        ("optimizer.lerning_rate", "did you mean optimizer.learning_rate?"),
        (
            "learning_rate",
            "did you mean student.init.ligo.learning_rate or optimizer.learning_rate?",
        ),
        (
            "temperature",
            "did you mean data.mixing.temperature or data.mixing.adaptive.temperature or "
            "losses.forward_kl.temperature or 7 others of that name?",
        ),
        ("zzzz", "raykd explain lists all keys"),
    ],
)
def test_advice_names_what_may_have_been_meant(typed: str, advice: str) -> None:
    assert advice_for(typed) == advice
