"""The page of a sweep in a real browser: it loads alone, is legible, reachable and printable."""

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from raykd.report.summary import Summary, summarise
from raykd.sweep.ledger import Ledger
from raykd.sweep.record import State

from tests import sweeps
from tests.answered import answered_summary
from tests.browser import probes
from tests.browser.conftest import Open
from tests.study_ledger import study_ledger

pytestmark = pytest.mark.slow

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>&\"'"
NON_LATIN = "учитель-教師-معلم"
PHONE, A4_WITHOUT_MARGINS = 360, 688


@pytest.fixture
def rich() -> Summary:
    """Return a study with one of everything, questions too."""
    return answered_summary()


def named(name: str) -> Ledger:
    """Return a sweep of a teacher with this name, in errors and languages too."""
    records = sweeps.arm_and_control(
        {"teacher": name, "student.init": {name: {}}},
        own=[3.0, 3.1, 3.05],
        control=[3.5, 3.4, 3.6],
    )
    tongues = [
        replace(r, evaluations=tuple({**e, f"eval/loss/{name}": 3.0} for e in r.evaluations))
        for r in records
    ]
    failed = replace(
        tongues[-1], state=State.FAILED, attempts=(sweeps._failed_attempt(name, name),)
    )
    return sweeps.ledger_of([*tongues[:-1], failed], name=name)


def claimed(text: str) -> Summary:
    """Return a study with this text wherever a question has some."""
    summary = answered_summary()
    answers = [
        replace(
            answer,
            name=text,
            asked=text,
            metric=text,
            reason=text,
            question=replace(answer.question, claim=text, source=text),
        )
        for answer in summary.answers
    ]
    return replace(summary, answers=tuple(answers))


STUDIES: dict[str, Callable[[], Summary]] = {
    "answered": answered_summary,
    "hostile questions": partial(claimed, HOSTILE),
    "questions of one long word": partial(claimed, "x" * 200),
}
LEDGERS = {
    "rich": sweeps.rich_ledger(),
    "running": sweeps.rich_ledger(is_over=False),
    "empty": sweeps.ledger_of([]),
    "one trial": sweeps.ledger_of([sweeps.trial_of({}, evaluations=sweeps.evaluations_of([2.0]))]),
    "waiting": sweeps.ledger_of([sweeps.trial_of({}, state=State.WAITING, is_control=True)]),
    "study": study_ledger(),
    "hostile": named(HOSTILE),
    "non-Latin": named(NON_LATIN),
    "one long word": named("x" * 200),
}
STUDIES |= {name: partial(summarise, ledger) for name, ledger in LEDGERS.items()}


@pytest.mark.parametrize("name", STUDIES)
def test_every_page_loads_alone_and_fits_a_phone(open_page: Open, name: str) -> None:
    summary = STUDIES[name]()
    opened = open_page(summary, width=PHONE)
    opened.page.evaluate(probes.OPEN_ALL_DETAILS)

    assert opened.messages == []
    assert opened.failed == []
    assert opened.requests == [opened.url]
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= PHONE
    assert opened.page.title().startswith(summary.name)
    assert opened.page.evaluate(probes.DUPLICATE_IDS) == []


@pytest.mark.parametrize("width", [PHONE, 390, 768, 1280])
@pytest.mark.parametrize(
    "name", ["answered", "questions of one long word", "running", "one long word"]
)
def test_every_number_of_the_answer_is_on_the_screen(
    open_page: Open, name: str, width: int
) -> None:
    page = open_page(STUDIES[name](), width=width).page
    cells = page.locator("main > section > .scroll > table.cards td:not(:empty)")

    boxes = [box for cell in cells.all() if (box := cell.bounding_box()) is not None]
    assert len(boxes) == cells.count() > 0
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)


@pytest.mark.parametrize("width", [PHONE, 1280])
def test_the_first_screen_of_a_study_answers_it(
    open_page: Open, rich: Summary, width: int
) -> None:
    page = open_page(rich, width=width).page

    box = page.locator("#answer tbody .answer").first.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= page.evaluate("innerHeight")


def test_a_claim_leads_to_its_evidence_and_that_to_its_arms(
    open_page: Open, rich: Summary
) -> None:
    page = open_page(rich).page
    evidence = page.locator("details.evidence").first
    assert page.locator("details.evidence[open]").count() == 0

    page.get_by_role("link", name=rich.answers[0].question.claim).press("Enter")

    assert page.locator("details.evidence[open]").count() == 1
    assert evidence.locator("summary h3").first.is_visible()
    figure = evidence.get_by_role("img", name="Seeds of strong-helps").bounding_box()
    assert figure is not None
    assert 0 <= figure["y"] < 800
    arm = evidence.locator("tbody a").first
    label = arm.inner_text()
    arm.press("Enter")
    assert page.locator("tr:target th").inner_text() == label


def test_the_numbers_of_the_seeds_are_those_of_the_answers(open_page: Open, rich: Summary) -> None:
    figures = {f["title"]: f for f in open_page(rich).page.evaluate(probes.FIGURES)}

    for answer in rich.answers:
        if answer.differences:
            rows = figures[f"Seeds of {answer.name}"]["rows"]
            shown = {row[0]: float(row[1].replace("\N{MINUS SIGN}", "-")) for row in rows}
            expected = {f"seed {seed}": value for seed, value in answer.differences.items()}
            assert shown == pytest.approx(expected, abs=0.0006)


@pytest.mark.parametrize("name", [HOSTILE, NON_LATIN])
def test_names_are_shown_as_they_are(open_page: Open, name: str) -> None:
    page = open_page(summarise(named(name))).page

    assert page.locator("h1").inner_text() == name
    assert page.get_by_role("img", name=f"Teacher {name}").count() == 1
    assert page.locator("script, img").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_behind_it(
    open_page: Open, rich: Summary, scheme: str
) -> None:
    page = open_page(rich, scheme=scheme).page
    page.evaluate(probes.OPEN_ALL_DETAILS)

    answer = page.evaluate(probes.LOW_CONTRAST)

    assert answer["found"] == []
    assert answer["checked"] > 500


def test_pale_text_would_be_found(open_page: Open, rich: Summary) -> None:
    page = open_page(rich).page
    page.add_style_tag(
        content="h1, svg text { color: #999; fill: #999 } td.better { color: #888 }"
    )

    found = " ".join(page.evaluate(probes.LOW_CONTRAST)["found"])

    assert all(f" {tag} " in f" {found} " for tag in ("H1", "TD", "text"))


def test_the_dark_scheme_is_dark(open_page: Open, rich: Summary) -> None:
    light, dark = (
        open_page(rich, scheme=scheme).page.evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for scheme in ("light", "dark")
    )

    assert light == "rgb(252, 252, 250)"
    assert dark == "rgb(21, 23, 26)"


def test_headings_and_landmarks_are_in_order(open_page: Open, rich: Summary) -> None:
    page = open_page(rich).page
    levels = page.evaluate(probes.HEADINGS)

    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    for role in ("banner", "navigation", "main", "contentinfo"):
        assert page.locator(f"role={role}").count() == 1
    assert page.locator("table:not(:has(> caption))").count() == 0
    assert page.locator("th:not([scope])").count() == 0


def test_every_drawing_has_a_name_and_its_numbers(open_page: Open, rich: Summary) -> None:
    page = open_page(rich).page
    page.evaluate(probes.OPEN_ALL_DETAILS)
    figures = page.evaluate(probes.FIGURES)

    assert page.evaluate(probes.UNNAMED_DRAWINGS) == 0
    titles = [figure["title"] for figure in figures]
    for start, count in (("Seeds of ", 8), ("Curves of ", 7), ("Teacher strong", 3)):
        assert len([title for title in titles if title.startswith(start)]) == count
    for figure in figures:
        assert figure["drawings"]
        assert figure["rows"]
        for title, description in figure["drawings"]:
            assert figure["title"] in title
            assert description
    named_images = page.get_by_role("img", name=re.compile(r"\S")).count()
    assert named_images == sum(len(figure["drawings"]) for figure in figures)


def test_the_numbers_of_the_curves_are_those_of_the_summary(
    open_page: Open, rich: Summary
) -> None:
    labels = {arm.id: arm.label for arm in rich.arms}
    expected = {
        (labels[curve.arm], f"{point.step:,}"): (point.mean, point.low, point.high)
        for curve in rich.curves
        for point in curve.points
    }

    figures = open_page(rich).page.evaluate(probes.FIGURES)
    rows = [row for figure in figures if "Step" in figure["heads"] for row in figure["rows"]]

    assert {(row[0], row[1]) for row in rows} == set(expected)
    for row in rows:
        found = [float(text) for text in row[4:7]]
        assert found == pytest.approx(expected[row[0], row[1]], abs=0.005)


def test_the_numbers_of_the_qualities_are_those_of_the_summary(
    open_page: Open, rich: Summary
) -> None:
    figures = open_page(rich).page.evaluate(probes.FIGURES)
    (figure,) = (f for f in figures if "Quality" in f["heads"])
    strong = [quality for quality in rich.qualities if quality.teacher == "strong"]

    for row, quality in zip(figure["rows"], strong, strict=True):
        assert float(row[2]) == quality.score
        shown = [float(t.split()[0].replace("\N{MINUS SIGN}", "-")) for t in row[4:]]
        assert shown == pytest.approx([d.mean for d in quality.differences], abs=0.0006)


def test_the_keyboard_reaches_everything_that_opens_or_scrolls(
    open_page: Open, rich: Summary
) -> None:
    page = open_page(rich, width=PHONE).page
    reached: list[dict[str, object]] = []
    page.keyboard.press("Tab")
    while (focused := page.evaluate(probes.FOCUSED)) is not None and focused not in reached:
        reached.append(focused)
        page.keyboard.press("Tab")

    assert reached[0]["name"] == "skip"
    assert {r["index"] for r in reached} == set(page.evaluate(probes.REACHABLE))
    assert all(r["outline"] for r in reached)


def test_the_skip_link_leads_to_the_answer(open_page: Open, rich: Summary) -> None:
    page = open_page(rich).page
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    assert page.url.endswith("#answer")
    assert page.evaluate("document.activeElement.id") == "answer"


def test_print_is_light_open_and_cuts_nothing(open_page: Open, rich: Summary) -> None:
    page = open_page(rich, scheme="dark", width=A4_WITHOUT_MARGINS).page
    page.emulate_media(media="print", color_scheme="dark")

    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(probes.WIDE_ELEMENTS) == []
    assert page.locator("details.evidence:not([open])").count() == 8
    for inside in ("svg.dots", "figure details table", ".charts > div > .scroll table"):
        assert page.locator(f"details.evidence {inside}").last.bounding_box() is not None
    assert page.locator("#curves figure details table").first.bounding_box() is not None
    assert page.evaluate(probes.LOW_CONTRAST)["found"] == []
    pages = re.findall(rb"/Type\s*/Page\b(?!s)", page.pdf(format="A4"))
    assert len(pages) > 1
