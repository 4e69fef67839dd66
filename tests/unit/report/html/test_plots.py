"""Plots show what they are given, where it belongs, and are safe to put into a page."""

import math
from xml.etree import ElementTree as ET

import pytest
from raykd.report.bars import Bar, reach
from raykd.report.html import bars
from raykd.report.html.line_chart import HEIGHT, Line, LineChart, Point, draw, num_outside

SVG = "{http://www.w3.org/2000/svg}"


def chart(*lines: Line, has_zero: bool = False, has_markers: bool = False) -> LineChart:
    return LineChart(
        id="c",
        title="Accuracy <b>",
        description='of "small" & others',
        x_title="steps",
        y_title="accuracy",
        lines=lines,
        has_zero=has_zero,
        has_markers=has_markers,
    )


def line(*values: float, style: str = "0") -> Line:
    points = tuple(Point(x=10.0 * i, y=v, low=v - 0.1, high=v + 0.1) for i, v in enumerate(values))
    return Line(label="an arm", style=style, points=points)


def elements(drawn: str, name: str) -> list[ET.Element]:
    return ET.fromstring(drawn).findall(f".//{name}")  # noqa: S314  our own text


def heights(drawn: str) -> list[float]:
    (path,) = (p for p in elements(drawn, "path") if p.get("class") == "line s-0")
    return [float(pair.split()[1]) for pair in path.get("d", "").strip("M").split("L")]


def test_a_chart_names_itself_and_escapes_what_it_says() -> None:
    drawn = draw(chart(line(0.1, 0.2)))

    assert elements(drawn, "title")[0].text == "Accuracy <b>"
    assert elements(drawn, "desc")[0].text == 'of "small" & others'
    assert ET.fromstring(drawn).get("aria-labelledby") == "c-title c-desc"  # noqa: S314


def test_higher_values_stand_higher() -> None:
    found = heights(draw(chart(line(0.1, 0.5, 0.3))))

    assert found[1] < found[2] < found[0]


def test_the_band_goes_once_around_all_points() -> None:
    (band,) = (
        p for p in elements(draw(chart(line(1, 2, 3))), "path") if p.get("class") == "band s-0"
    )

    assert band.get("d", "").count("L") == 5
    assert band.get("d", "").endswith("Z")


def test_values_that_are_no_numbers_are_left_out() -> None:
    points = (Point(x=0, y=1), Point(x=1, y=math.nan), Point(x=2, y=2), Point(x=3, y=math.inf))
    drawn = draw(chart(Line(label="a", style="0", points=points)))

    assert len(heights(drawn)) == 2
    assert "nan" not in drawn
    assert "inf" not in drawn


def test_nothing_to_show_is_no_drawing() -> None:
    assert draw(chart()) == ""
    assert draw(chart(Line(label="a", style="0", points=(Point(x=0, y=math.nan),)))) == ""


def test_one_point_is_a_marker() -> None:
    assert len(elements(draw(chart(line(0.5))), "circle")) == 1


def test_a_steep_beginning_does_not_flatten_the_rest() -> None:
    falling = line(11.0, 3.0, 2.9, 2.8, 2.7, 2.6, 2.5, 2.4, 2.3, 2.2, 2.1)
    drawn = heights(draw(chart(falling)))

    assert num_outside(chart(falling)) == 1
    assert drawn[0] < 0
    assert max(drawn[2:]) - min(drawn[2:]) > HEIGHT / 3


@pytest.mark.parametrize("values", [(9.0, 3.0), (9.0, 3.0, 2.9), (9.0, 3.0, 2.9, 2.8, 2.7)])
def test_a_short_study_is_drawn_whole(values: tuple[float, ...]) -> None:
    drawn = heights(draw(chart(line(*values))))

    assert num_outside(chart(line(*values))) == 0
    assert all(0 <= height <= HEIGHT for height in drawn)


def test_a_line_that_ends_early_is_drawn_whole_beside_long_ones() -> None:
    falling = (11.0, 3.0, 2.9, 2.8, 2.7, 2.6, 2.5, 2.4, 2.3, 2.2, 2.1)
    assert num_outside(chart(line(*falling), line(12.0, 10.0))) == 0


def test_zero_is_in_the_drawing_where_it_means_something() -> None:
    drawn = draw(chart(line(0.5, 0.6), has_zero=True, has_markers=True))

    assert any(p.get("class") == "zero" for p in elements(drawn, "path"))
    assert "0.0" in [t.text for t in elements(drawn, "text")]


def test_an_interval_right_of_the_middle_is_above_the_control() -> None:
    drawn = bars.draw(Bar(mean=0.5, low=0.25, high=0.75), reach=1.0, verdict="better")
    (dot,) = elements(drawn, "circle")

    assert float(dot.get("cx", "")) > bars.WIDTH / 2
    assert ET.fromstring(drawn).get("aria-hidden") == "true"  # noqa: S314


def test_one_wide_interval_does_not_press_the_others_together() -> None:
    narrow = Bar(mean=0.01, low=0.0, high=0.02)
    wide = Bar(mean=0.02, low=-5.0, high=5.0)

    assert reach([narrow, wide]) == 0.04
    assert "l4 -3" in bars.draw(wide, reach=0.04, verdict="inconclusive")
    # Ordinary ones are whole, however near 0 their means are.
    alike = [Bar(mean=0.01, low=-0.2 * n, high=0.2) for n in (1, 1, 1.5)]
    assert reach([*alike, wide]) == 0.4
    assert reach(alike) == pytest.approx(0.3)


def test_intervals_without_numbers_are_empty_or_a_point() -> None:
    assert reach([]) == 1.0
    assert reach([Bar(mean=0.0, low=None, high=None)]) == 1.0
    assert bars.draw(Bar(mean=math.nan, low=0, high=0), reach=1, verdict="none") == ""
    assert "bar" not in bars.draw(Bar(mean=0.1, low=None, high=None), reach=1, verdict="none")
