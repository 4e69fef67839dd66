"""What a run prints while it goes on: aligned lines, from the records alone."""

import pytest
from raykd.cli.progress import (
    RunDisplay,
    evaluation_line,
    print_metrics,
    print_result,
    training_line,
    training_seconds_left,
)
from raykd.runs.result import RunResult

REPORT = {
    "step": 50,
    "tokens": 100_000,
    "train/loss": 4.56789,
    "train/loss/cross_entropy": 3.0,
    "train/loss/forward_kl": 0.25,
    "train/grad_norm": 1.23456,
    "train/learning_rate": 1e-3,
    "train/tokens_per_second": 12_345.6,
    "train/data_wait_share": 0.049,
}
EVALUATION = {
    "step": 100,
    "tokens": 200_000,
    "eval/loss": 3.25,
    "eval/loss/de": 4.0,
    "eval/accuracy": 0.5,
    "eval/teacher/loss": 3.0,
    "eval/teacher/loss/de": 3.5,
}


def test_a_training_line_shows_loss_terms_gradient_speed_and_time_left() -> None:
    assert training_line(REPORT, 1_000) == (
        "step   50/1000  loss  4.5679  cross_entropy  3.0000  forward_kl  0.2500  grad  1.235  "
        "   12 346 tokens/s  eta 3 min"
    )


def test_a_training_line_says_that_it_waits_for_data_where_it_does() -> None:
    line = training_line({**REPORT, "train/data_wait_share": 0.25}, 1_000)
    assert line.endswith("tokens/s  25% waiting for data  eta 3 min")


def test_a_single_term_is_the_loss_and_not_repeated() -> None:
    record = {name: value for name, value in REPORT.items() if name != "train/loss/forward_kl"}
    assert "cross_entropy" not in training_line(record, 1_000)


def test_the_lines_of_a_run_are_aligned() -> None:
    speed = "train/tokens_per_second"
    lines = [
        training_line({**REPORT, "step": step, "train/loss": loss, speed: value}, 1_000)
        for step, loss, value in [(1, 10.5, 7.0), (1_000, 0.25, 1_234_567.0)]
    ]
    assert len({line.index("grad") for line in lines}) == 1
    assert len({line.index("tokens/s") for line in lines}) == 1


@pytest.mark.parametrize(
    ("step", "tokens", "speed", "num_steps", "seconds"),
    [(10, 1_000, 50.0, 30, 40.0), (30, 3_000, 50.0, 30, 0.0), (1, 8, 2.0, 101, 400.0)],
)
def test_the_time_left_is_the_tokens_left_over_the_speed(
    step: int, tokens: int, speed: float, num_steps: int, seconds: float
) -> None:
    record = {"step": step, "tokens": tokens, "train/tokens_per_second": speed}
    assert training_seconds_left(record, num_steps) == pytest.approx(seconds)


def test_an_evaluation_line_leaves_single_languages_to_the_file() -> None:
    assert evaluation_line(EVALUATION, 1_000) == (
        "step  100/1000  eval loss 3.2500  eval accuracy 0.5000  eval teacher/loss 3.0000"
    )


def test_a_start_says_how_far_the_logits_are_from_the_source() -> None:
    record = {"step": 0, "tokens": 0, "init/logit_difference": 1.25e-6}
    assert evaluation_line(record, 100) == (
        "step   0/100  largest logit difference to the source of the weights 1.25e-06"
    )


def test_in_a_log_every_record_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with RunDisplay(num_steps=1_000, is_live=True) as display:
        display.message("runs/[x]: starts")
        display.show(REPORT)
        display.show(EVALUATION)
    assert capsys.readouterr().out.splitlines() == [
        "runs/[x]: starts",
        training_line(REPORT, 1_000),
        evaluation_line(EVALUATION, 1_000),
    ]


def shown_metrics(metrics: dict[str, float], capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_metrics(metrics)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_an_evaluation_is_a_table_of_models_and_one_of_languages(
    capsys: pytest.CaptureFixture[str],
) -> None:
    languages = {"eval/accuracy/de": 0.4, "eval/accuracy/en": 0.6, "eval/teacher/accuracy/de": 0.7}
    assert shown_metrics(EVALUATION | languages, capsys) == [
        "loss accuracy",
        "student 3.2500 0.5000",
        "teacher 3.0000 -",
        "",
        "accuracy student teacher",
        "de 0.4000 0.7000",
        "en 0.6000 -",
    ]


def test_the_test_split_has_a_line_and_tables_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tested = {
        "step": 1_000,
        "best/step": 100,
        "test/loss": 3.5,
        "test/loss/de": 4.5,
        "test/accuracy": 0.25,
        "test/accuracy/de": 0.125,
        "test/teacher/loss": 3.0,
    }
    assert evaluation_line(tested, 1_000) == (
        "step 1000/1000  keeps the weights of step 100  test loss 3.5000  test accuracy 0.2500  "
        "test teacher/loss 3.0000"
    )
    assert shown_metrics(EVALUATION | tested, capsys)[3:] == [
        "",
        "test loss accuracy",
        "student 3.5000 0.2500",
        "teacher 3.0000 -",
        "",
        "test accuracy student",
        "de 0.1250",
    ]


def test_several_teachers_and_what_is_forgotten_have_their_places(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = {
        "step": 3,
        "eval/loss": 1.0,
        "eval/accuracy/de": 0.5,
        "eval/forgetting": 0.25,
        "eval/forgetting/de": 0.125,
        "eval/teacher/big/loss": 2.0,
        "eval/teacher/small/loss": 3.0,
        "eval/teacher/small/accuracy/de": 0.75,
        "data/share/de": 1.0,
    }
    assert shown_metrics(metrics, capsys) == [
        "loss forgetting",
        "student 1.0000 0.2500",
        "teacher big 2.0000 -",
        "teacher small 3.0000 -",
        "",
        "accuracy student forgotten teacher small",
        "de 0.5000 0.1250 0.7500",
    ]


def test_seen_and_unseen_languages_are_rows_of_accuracies(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metrics = {
        "eval/loss": 1.0,
        "eval/seen/loss": 0.5,
        "eval/seen/accuracy": 0.75,
        "eval/unseen/accuracy": 0.25,
        "eval/accuracy/de": 0.75,
        "eval/teacher/loss": 2.0,
        "eval/teacher/unseen/accuracy": 0.5,
    }
    assert shown_metrics(metrics, capsys) == [
        "loss",
        "student 1.0000",
        "teacher 2.0000",
        "",
        "accuracy student teacher",
        "seen 0.7500 -",
        "unseen 0.2500 0.5000",
        "de 0.7500 -",
    ]


@pytest.mark.parametrize("is_done", [True, False])
def test_a_result_says_where_the_model_is_or_how_to_go_on(
    is_done: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    result = RunResult(
        is_done=is_done,
        step=1_000 if is_done else 7,
        num_steps=1_000,
        metrics=EVALUATION,
        model_uri="runs/[a]/model" if is_done else None,
    )
    print_result(result, run_uri="runs/[a]")
    shown = capsys.readouterr().out.splitlines()
    if is_done:
        assert shown[-2:] == ["done: 1000 steps, run runs/[a]", "model: runs/[a]/model"]
    else:
        assert shown == [
            "stopped after step 7 of 1000, with a checkpoint; the same command continues"
        ]


@pytest.mark.parametrize(
    ("unseen", "decides"), [({}, "eval/loss"), ({"eval/seen/loss": 3.0}, "eval/seen/loss")]
)
def test_a_result_says_by_which_loss_weights_are_kept(
    unseen: dict[str, float], decides: str, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = {**EVALUATION, **unseen, "best/step": 50}
    result = RunResult(is_done=True, step=100, num_steps=100, metrics=metrics, model_uri="model")
    print_result(result, run_uri="run")
    shown = capsys.readouterr().out.splitlines()
    assert f"kept: the weights of step 50, of the lowest {decides}" in shown
