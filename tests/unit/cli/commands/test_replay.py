"""What a replayed step looks like on a terminal."""

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raykd.cli.commands.replay import as_json, gradients_table, rows_table, step_lines
from raykd.errors import NonFiniteLossError
from raykd.train.step_report import GradientReport, RowReport, StepReport
from rich.console import Console, RenderableType


def gradient(name: str, norm: float, *, num_not_finite: int = 0) -> GradientReport:
    return GradientReport(name=name, norm=norm, num_values=12, num_not_finite=num_not_finite)


def row(row_id: int, *, loss: float, text: str) -> RowReport:
    return RowReport(row_id=row_id, language="de", tokens=9, loss=loss, grad_norm=0.25, text=text)


def report(*gradients: GradientReport, error: NonFiniteLossError | None = None) -> StepReport:
    return StepReport(
        step=7,
        loss=0.1 + 0.2,
        terms={"cross_entropy": 0.1, "forward_kl": math.nan},
        grad_norm=1.5,
        error=error,
        gradients=gradients,
        rows=(),
    )


def printed(shown: RenderableType) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=80).print(shown)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_the_numbers_of_the_step_are_told_to_the_last_digit_of_float32() -> None:
    found = replace(report(gradient("a", 1.0)), loss=float(np.float32(7.5145)), grad_norm=1e-30)
    assert step_lines(found) == [
        "step 7  loss 7.5145  cross_entropy 0.1  forward_kl nan  grad 1e-30",
        "training goes on after this step",
    ]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_no_digit_of_float32_is_lost(value: float) -> None:
    (line, _) = step_lines(replace(report(), loss=value, terms={}))
    shown = line.split()[3]
    assert np.float32(shown) == np.float32(value)
    assert len(shown.partition("e")[0].strip("-").replace(".", "").strip("0")) <= 9


def test_as_json_every_digit_stays_and_what_is_not_finite_is_null() -> None:
    found = replace(
        report(gradient("a", math.inf), error=NonFiniteLossError("step 7: the loss is nan")),
        rows=(row(3, loss=0.1 + 0.2, text="x"),),
    )
    told = json.loads(as_json(found), parse_constant=pytest.fail)
    assert told["loss"] == 0.1 + 0.2
    assert told["terms"] == {"cross_entropy": 0.1, "forward_kl": None}
    assert told["error"] == "step 7: the loss is nan"
    assert told["gradients"][0]["norm"] is None
    assert told["rows"][0]["row_id"] == 3


def test_a_step_that_diverges_says_so_and_counts_the_gradients() -> None:
    found = report(
        gradient("a", math.nan, num_not_finite=3),
        gradient("b", 1.0),
        error=NonFiniteLossError("step 7: the loss is nan"),
    )
    assert step_lines(found)[1:] == [
        "step 7: the loss is nan",
        "1 of 2 gradients are not finite",
    ]


def test_only_gradients_that_are_not_finite_are_shown_where_there_are_any() -> None:
    bad = gradient("layer.0", math.nan, num_not_finite=3)
    assert printed(gradients_table((bad, gradient("b", 2.0)))) == [
        "gradient of  norm  not finite",
        "layer.0      nan   3 of 12",
    ]


def test_the_largest_gradients_are_shown_where_all_are_finite() -> None:
    shown = printed(gradients_table(tuple(gradient(f"p{n}", 20.0 - n) for n in range(20))))
    assert [line.split() for line in shown[1:]] == [[f"p{n}", str(20 - n), "-"] for n in range(8)]


def test_a_row_is_one_line_that_no_terminal_obeys() -> None:
    text = "[red]a\tb\n\x1b[31mc\x9b2J" + " word" * 40
    rows = [row(3, loss=math.inf, text=text), row(12, loss=1.5, text="d")]
    shown = printed(rows_table(rows))
    assert shown[1].split()[:6] == ["3", "de", "9", "inf", "0.25", "[red]a"]
    assert "b [31mc 2J word" in shown[1]
    assert shown[1].endswith("…")
    assert len(shown[1]) <= 80
    assert shown[2:] == ["12   de        9       1.5         0.25        d"]
