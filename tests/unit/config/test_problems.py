"""Values of the right type that cannot work are refused with their key and their value."""

import pytest
from raykd.config.load import checked_run
from raykd.config.schema.run import RunConfig
from raykd.config.yaml_text import read_yaml
from raykd.errors import ConfigError

MINIMAL = """
name: small
task: masked_lm
data: {uri: data/x}
student: {architecture: {model_type: bert}}
losses: {cross_entropy: {}}
train: {num_steps: 5}
"""


def run_with(*changes: str) -> RunConfig:
    """Return the minimal run with ``key=value`` changes."""
    given = read_yaml(MINIMAL)
    for change in changes:
        key, _, text = change.partition("=")
        *parents, last = key.split(".")
        section = given
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = read_yaml(text)
    return checked_run(given, origin="test")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        *[
            (
                f"name={name}",
                f"name must consist of letters, digits, '.', '_' and '-', got '{name}'",
            )
            for name in ("a/b", "a b", "-a", "..", "é")
        ],
        ("data.num_lanes=0", "data.num_lanes must be >= 1, got 0"),
        ("data.shuffle_window=0", "data.shuffle_window must be >= 1, got 0"),
        *[
            (f"data.fraction={value}", f"data.fraction must be in (0, 1], got {float(value)}")
            for value in ("0", "-0.5", "1.5")
        ],
        ("data.fraction_seed=-1", "data.fraction_seed must be in [0, 2^31), got -1"),
        ("data.languages=[]", "data.languages is empty: name at least one, or null for all"),
        (
            "data.eval_languages=[]",
            "data.eval_languages is empty: name at least one, or null for data.languages",
        ),
        (
            "student.eval_projections={sw: de}",
            "student.eval_projections names projections of languages: it needs "
            "student.projections=per_language",
        ),
        *[
            (
                f"data.test_split={split}",
                f"data.test_split and data.{key} are both '{split}': a test split is one that "
                "nothing is trained on or chosen by; name another, or null",
            )
            for key, split in (("train_split", "train"), ("eval_split", "validation"))
        ],
        ("data.mixing={}", "data.mixing needs exactly one of temperature, fixed and adaptive"),
        (
            "data.mixing={temperature: {}, fixed: {weights: {de: 1}}}",
            "data.mixing needs exactly one of temperature, fixed and adaptive",
        ),
        (
            "data.mixing.temperature.exponent=1.5",
            "data.mixing.temperature.exponent must be between 0 and 1, got 1.5",
        ),
        (
            "data.mixing.temperature.exponent=-0.1",
            "data.mixing.temperature.exponent must be between 0 and 1, got -0.1",
        ),
        ("data.mixing.fixed.weights={}", "data.mixing.fixed.weights must all be > 0, got {}"),
        (
            "data.mixing.fixed.weights={de: 0, en: 1}",
            "data.mixing.fixed.weights must all be > 0, got {'de': 0.0, 'en': 1.0}",
        ),
        ("data.masking.fraction=0", "data.masking.fraction must be in (0, 1], got 0.0"),
        ("data.masking.fraction=1.1", "data.masking.fraction must be in (0, 1], got 1.1"),
        (
            "data.masking.mask_fraction=-0.1",
            "data.masking.mask_fraction and random_fraction must be >= 0 and sum to at most 1, "
            "got -0.1 and 0.1",
        ),
        (
            "data.masking.random_fraction=0.3",
            "data.masking.mask_fraction and random_fraction must be >= 0 and sum to at most 1, "
            "got 0.8 and 0.3",
        ),
        ("student={}", "student needs exactly one of pretrained and architecture"),
        ("student.pretrained=x", "student needs exactly one of pretrained and architecture"),
        (
            "student={pretrained: x, init: {copy_layers: {source: y}}}",
            "student.init starts a built model: leave it out with student.pretrained",
        ),
        ("student.revision=main", "student.revision (main) needs student.pretrained"),
        *[
            (f"student.architecture.{name}=0", f"student.architecture.{name} must be >= 1, got 0")
            for name in ("num_layers", "hidden_size", "num_heads", "intermediate_size")
        ],
        (
            "student.architecture.dropout=1",
            "student.architecture.dropout must be in [0, 1), got 1.0",
        ),
        (
            "student.architecture.dropout=-0.5",
            "student.architecture.dropout must be in [0, 1), got -0.5",
        ),
        (
            "student.architecture.model_type=null",
            "student.architecture.model_type is null: give it where no teacher is",
        ),
        ("student.init={}", "student.init needs exactly one method, such as copy_layers: {}"),
        (
            "student.init.copy_layers={}",
            "student.init.copy_layers.source is null: give it where no teacher is",
        ),
        (
            "student.init.copy_layers={source: x, parts: []}",
            "student.init.copy_layers.parts is empty: name at least one part",
        ),
        (
            "student.init.copy_layers={source: x, layers: [0, -1]}",
            "student.init.copy_layers.layers must be source layers counted from 0, got [0, -1]",
        ),
        (
            "student.init.copy_layers={source: x, layers: []}",
            "student.init.copy_layers.layers must be source layers counted from 0, got []",
        ),
        ("losses={}", "losses is empty: add a section such as losses.cross_entropy={}"),
        ("losses.cross_entropy.weight=-1", "losses.cross_entropy.weight must be >= 0, got '-1'"),
        (
            "losses.cross_entropy.weight=1 -> -2",
            "losses.cross_entropy.weight must be >= 0, got '1 -> -2'",
        ),
        (
            "losses.cross_entropy.weight=heavy",
            "losses.cross_entropy.weight: 'heavy' is not a schedule: write '1', '4 -> 1' or "
            "'4 @ 0.5 -> 1'",
        ),
        *[
            (
                f"losses.{name}={{}}",
                f"losses.{name} needs a teacher: name one, as in teachers.small.model=URI",
            )
            for name in ("forward_kl", "logit_mse")
        ],
        ("train={}", "train needs exactly one of num_steps and num_epochs, got None and None"),
        (
            "train.num_epochs=2",
            "train needs exactly one of num_steps and num_epochs, got 5 and 2.0",
        ),
        *[
            (f"train.{name}=0", f"train.{name} must be >= 1, got 0")
            for name in (
                *("num_steps", "global_batch_size", "micro_batch_size"),
                *("log_every_steps", "eval_every_steps"),
            )
        ],
        ("train={num_epochs: 0}", "train.num_epochs must be > 0, got 0.0"),
        ("train.seed=-1", "train.seed must be in [0, 2^31), got -1"),
        ("train.loss_spike_factor=1", "train.loss_spike_factor must be > 1, got 1.0"),
        ("train.seed=2147483648", "train.seed must be in [0, 2^31), got 2147483648"),
        *[
            (f"optimizer.{name}=0", f"optimizer.{name} must be > 0, got 0.0")
            for name in ("learning_rate", "epsilon", "max_grad_norm")
        ],
        ("optimizer.weight_decay=-0.1", "optimizer.weight_decay must be >= 0, got -0.1"),
        *[
            (f"optimizer.{name}={value}", f"optimizer.{name} must be in [0, 1), got {value}")
            for name in ("warmup_fraction", "beta1", "beta2")
            for value in (-0.1, 1.0)
        ],
        ("checkpoint.every_steps=0", "checkpoint.every_steps must be >= 1, got 0"),
        ("checkpoint.keep_last=0", "checkpoint.keep_last must be >= 1, got 0"),
        *[
            (
                f"checkpoint.milestones=[0.5, {value}]",
                f"checkpoint.milestones must be in (0, 1], got [0.5, {value}]",
            )
            for value in (0.0, 1.5)
        ],
        ("cluster.num_workers=-1", "cluster.num_workers must be >= 0, got -1"),
        ("cluster.gpus_per_worker=-1", "cluster.gpus_per_worker must be >= 0, got -1.0"),
        ("cluster.max_failures=-1", "cluster.max_failures must be >= 0, got -1"),
        ("cluster.max_preemptions=-1", "cluster.max_preemptions must be >= 0, got -1"),
        (
            "cluster.collective_timeout_seconds=0",
            "cluster.collective_timeout_seconds must be > 0, got 0.0",
        ),
        *[
            (
                f"cluster.min_workers={value}",
                "cluster.min_workers must be in [1, cluster.num_workers], which is 1; "
                f"got {value}",
            )
            for value in (0, 2)
        ],
        ("cluster.cpus_per_worker=0", "cluster.cpus_per_worker must be > 0, got 0.0"),
        (
            "cluster.num_workers=17",
            "cluster.num_workers (17) must be at most data.num_lanes (16): each worker reads at "
            "least one lane",
        ),
        (
            "teachers={a/b: {model: x}}",
            "teachers: names must consist of letters, digits, '.', '_' and '-', got ['a/b']",
        ),
        (
            "teachers={a: {model: x, languages: []}}",
            "teachers.a.languages is empty: name one, or null for all",
        ),
        (
            "teacher_weights={uniform: {}}",
            "teacher_weights needs teachers: name them, as in teachers.small.model=URI",
        ),
        (
            "data.mixing={adaptive: {}}",
            "data.mixing.adaptive needs a teacher: use temperature or fixed",
        ),
        (
            "student.projections=per_language",
            "student.projections=per_language needs a classification task, got masked_lm: the "
            "head of a language model is its vocabulary",
        ),
        (
            "student.projection_sources={sw: en}",
            "student.projection_sources adds languages to a trained student: it needs "
            "student.pretrained and student.projections=per_language",
        ),
        (
            "student.init={copy_layers: {}, remap: {}}",
            "student.init needs exactly one method, such as copy_layers: {}, got copy_layers and "
            "remap",
        ),
        (
            "student.init={remap: {}}",
            "student.init.remap.source is null: give it where no teacher is",
        ),
        (
            "student.init={subclone: {source: x, num_batches: 0}}",
            "student.init.subclone.num_batches must be >= 1, got 0",
        ),
        (
            "student.init={ligo: {source: x, num_steps: -1}}",
            "student.init.ligo.num_steps must be >= 0, got -1",
        ),
        (
            "student.init={ligo: {source: x, learning_rate: 0}}",
            "student.init.ligo.learning_rate must be > 0, got 0.0",
        ),
        (
            "losses.hidden_states={}",
            "losses.hidden_states needs a teacher: name one, as in teachers.small.model=URI",
        ),
    ],
)
def test_a_value_that_cannot_work_is_one_line_with_its_key(change: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        run_with(change)
    assert str(error.value) == f"test: 1 problem(s)\n  - {problem}"


def test_a_temperature_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"forward_kl\.temperature must be > 0, got '4 -> 0'"):
        run_with("teachers.a.model=x", "losses.forward_kl.temperature=4 -> 0")


@pytest.mark.parametrize(
    "change",
    [
        "name=a-b_c.1",
        "data.mixing.temperature.exponent=0",
        "data.mixing.temperature.exponent=1",
        "data.masking={fraction: 1, mask_fraction: 1, random_fraction: 0}",
        "losses.cross_entropy.weight=0",
        "train={num_epochs: 0.1}",
        "train.seed=2147483647",
        "train.micro_batch_size=1000",
        "optimizer={warmup_fraction: 0, beta1: 0, weight_decay: 0}",
        "checkpoint.milestones=[0.01, 1]",
        "cluster={num_workers: 16, gpus_per_worker: 0.25}",
        "cluster={num_workers: 0, max_failures: 0}",
        "student.architecture.dropout=0",
        "student.init.copy_layers={source: x, layers: [2, 0, 2]}",
    ],
)
def test_the_edge_of_what_works_is_accepted(change: str) -> None:
    run_with(change)


def test_a_teacher_stands_in_for_what_is_left_out() -> None:
    run_with("teachers.a.model=x", "losses={logit_mse: {}}", "student={architecture: {}}")
    run_with("teachers.a.model=x", "student.init.copy_layers={}")


def test_the_best_weights_are_kept_only_where_they_are_evaluated_and_stay() -> None:
    keep = "train.keep=best"
    assert run_with(keep, "data.test_split=test").train.keep == "best"
    with pytest.raises(ConfigError) as error:
        run_with(keep, "data.eval_split=null", "checkpoint.keep_best=false")
    assert str(error.value) == (
        "test: 2 problem(s)\n"
        "  - train.keep=best follows evaluations, but data.eval_split is null\n"
        "  - train.keep=best exports what checkpoint.keep_best=false removes: set it to true"
    )
