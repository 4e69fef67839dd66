"""Models and frontiers in a real browser: figures with names and numbers, tables that fit."""

import pytest
from raykd.report.summary import Summary, summarise

from tests.browser import probes
from tests.browser.conftest import Open
from tests.sized_ledger import sized_ledger
from tests.unit.report.efficiency.test_shown import LATENCIES

pytestmark = pytest.mark.slow

PHONE = 360


@pytest.fixture
def sized() -> Summary:
    return summarise(sized_ledger(), latencies=LATENCIES)


def test_each_frontier_is_a_figure_with_its_arms_by_number(
    open_page: Open, sized: Summary
) -> None:
    page = open_page(sized).page
    figures = {f["title"]: f for f in page.evaluate(probes.FIGURES) if "Number" in f["heads"]}

    assert len(figures) == len(sized.frontier) == 2
    for frontier, (title, figure) in zip(sized.frontier, figures.items(), strict=True):
        best = frontier.best
        assert [row[0] for row in figure["rows"]] == [point.label for point in best]
        assert [float(row[2]) for row in figure["rows"]] == pytest.approx([p.mean for p in best])
        drawing = page.get_by_role("img", name=title)
        assert drawing.locator("circle").count() == len(frontier.points)
        numbers = [str(number) for number, _ in enumerate(best, start=1)]
        names = drawing.locator("text").all_text_contents()
        assert names[-len(best) :] == numbers


def test_names_of_points_are_inside_of_the_page(open_page: Open, sized: Summary) -> None:
    page = open_page(sized, width=PHONE).page
    page.evaluate(probes.OPEN_ALL_DETAILS)

    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    boxes = [text.bounding_box() for text in page.locator("#frontier svg text").all()]
    assert all(box and box["x"] >= 0 and box["x"] + box["width"] <= PHONE for box in boxes)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_table_of_models_is_legible(open_page: Open, sized: Summary, scheme: str) -> None:
    page = open_page(sized, scheme=scheme).page
    rows = page.locator("#sizes tbody tr")

    heads = [row.name for row in sized.sizes.rows]
    assert rows.locator("th").all_inner_texts() == heads
    assert rows.nth(2).locator("td").last.inner_text() == "1 ms"
    assert page.evaluate(probes.LOW_CONTRAST)["found"] == []
