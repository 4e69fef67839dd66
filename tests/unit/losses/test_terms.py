"""From sections of the configuration to the summands of the objective."""

import torch
from raykd.config.schema.layer_losses import HiddenStatesConfig
from raykd.config.schema.losses import (
    CrossEntropyConfig,
    ForwardKLConfig,
    JensenShannonConfig,
    LogitMSEConfig,
    LossesConfig,
    ReverseKLConfig,
    SkewedKLConfig,
    TAIDConfig,
    TotalVariationConfig,
)
from raykd.losses.terms import LossTerm, build_terms

from tests.unit.losses.on_logits import (
    cross_entropy,
    forward_kl,
    jensen_shannon,
    logit_mse,
    reverse_kl,
    skewed_kl,
    taid,
    total_variation,
)

EVERY_TERM = LossesConfig(
    cross_entropy=CrossEntropyConfig(weight="2"),
    forward_kl=ForwardKLConfig(weight="1 -> 0", temperature="4 -> 1"),
    logit_mse=LogitMSEConfig(),
)
STUDENT_PK, TEACHER_PK = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
LABELS_P = torch.tensor([0, 1, 2, 3, 0])


def terms_by_name(config: LossesConfig) -> dict[str, LossTerm]:
    return {term.name: term for term in build_terms(config)}


def values_of(term: LossTerm, progress: float) -> torch.Tensor:
    target = TEACHER_PK if term.needs_teacher else LABELS_P
    return term.per_position(STUDENT_PK, target, **term.settings_at(progress))


def test_a_present_section_is_a_term_and_an_absent_one_is_not() -> None:
    assert list(terms_by_name(EVERY_TERM)) == ["cross_entropy", "forward_kl", "logit_mse"]
    assert list(terms_by_name(LossesConfig(logit_mse=LogitMSEConfig()))) == ["logit_mse"]
    assert build_terms(LossesConfig()) == ()


def test_each_term_computes_its_own_loss() -> None:
    values = {name: values_of(term, 0.0) for name, term in terms_by_name(EVERY_TERM).items()}
    torch.testing.assert_close(
        values,
        {
            "cross_entropy": cross_entropy(STUDENT_PK, LABELS_P),
            "forward_kl": forward_kl(
                STUDENT_PK, TEACHER_PK, temperature=4.0, scale_by_temperature_squared=True
            ),
            "logit_mse": logit_mse(STUDENT_PK, TEACHER_PK),
        },
    )


def test_weight_and_temperature_follow_the_progress() -> None:
    term = terms_by_name(EVERY_TERM)["forward_kl"]
    assert [term.weight.at(progress) for progress in (0.0, 0.25, 1.0)] == [1.0, 0.75, 0.0]
    torch.testing.assert_close(
        values_of(term, 0.5),
        forward_kl(STUDENT_PK, TEACHER_PK, temperature=2.5, scale_by_temperature_squared=True),
    )


def test_the_switch_for_temperature_squared_reaches_the_loss() -> None:
    config = ForwardKLConfig(temperature="3", scale_by_temperature_squared=False)
    term = terms_by_name(LossesConfig(forward_kl=config))["forward_kl"]
    torch.testing.assert_close(
        values_of(term, 0.0),
        forward_kl(STUDENT_PK, TEACHER_PK, temperature=3.0, scale_by_temperature_squared=False),
    )


def test_every_setting_of_a_section_reaches_its_divergence() -> None:
    config = LossesConfig(
        reverse_kl=ReverseKLConfig(temperature="3", scale_by_temperature_squared=False),
        jensen_shannon=JensenShannonConfig(temperature="2", beta=0.2),
        skewed_kl=SkewedKLConfig(skew=0.3, temperature="2"),
        total_variation=TotalVariationConfig(temperature="2"),
        taid=TAIDConfig(mix="0.2 -> 0.6", temperature="2 -> 4"),
    )
    found = {name: values_of(term, 0.5) for name, term in terms_by_name(config).items()}
    pair = STUDENT_PK, TEACHER_PK
    expected = {
        "reverse_kl": reverse_kl(*pair, temperature=3.0, scale_by_temperature_squared=False),
        "jensen_shannon": jensen_shannon(
            *pair, beta=0.2, temperature=2.0, scale_by_temperature_squared=True
        ),
        "skewed_kl": skewed_kl(
            *pair, skew=0.3, temperature=2.0, scale_by_temperature_squared=True
        ),
        "total_variation": total_variation(
            *pair, temperature=2.0, scale_by_temperature_squared=False
        ),
        "taid": taid(*pair, mix=0.4, temperature=3.0, scale_by_temperature_squared=True),
    }
    torch.testing.assert_close(found, expected)


def test_terms_on_layers_are_built_elsewhere() -> None:
    config = LossesConfig(hidden_states=HiddenStatesConfig(), logit_mse=LogitMSEConfig())
    assert list(terms_by_name(config)) == ["logit_mse"]


def test_a_term_says_whether_it_compares_with_a_teacher() -> None:
    for name, term in terms_by_name(EVERY_TERM).items():
        assert term.needs_teacher == (name in EVERY_TERM.teacher_terms)
