"""The page says what the summary says, holds all it needs, and lets no text become markup."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from raykd.report.html import page
from raykd.report.html.document import state_line
from raykd.report.html.study_tables import aggregate_table
from raykd.report.html.verdicts import verdicts
from raykd.report.summary import Summary, summarise
from raykd.sweep.ledger import Ledger
from raykd.sweep.record import State

from tests import sweeps
from tests.study_ledger import study_ledger


class Outline(HTMLParser):
    """The tags of a page and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def outline(ledger: Ledger, *, refresh_seconds: int | None = None) -> Outline:
    found = Outline()
    found.feed(page(summarise(ledger), refresh_seconds=refresh_seconds))
    return found


@pytest.fixture(scope="module")
def rich() -> Summary:
    return summarise(sweeps.rich_ledger())


def test_a_page_needs_nothing_beside_it(rich: Summary) -> None:
    found = Outline()
    found.feed(page(rich, refresh_seconds=None))

    assert not {"script", "img", "iframe", "object"} & {tag for tag, _ in found.tags}
    links = [a.get("href") or a.get("src") for _, a in found.tags if a.get("href") or a.get("src")]
    assert {link[0] for link in links if link} <= {"#", "d"}
    assert "url(" not in page(rich, refresh_seconds=None).replace("url(#", "")
    assert "@import" not in page(rich, refresh_seconds=None)


@pytest.mark.parametrize(("refresh_seconds", "expected"), [(None, []), (5, ["5"])])
def test_a_page_loads_again_only_where_asked(
    refresh_seconds: int | None, expected: list[str]
) -> None:
    tags = outline(sweeps.rich_ledger(), refresh_seconds=refresh_seconds).tags

    assert [a["content"] for _, a in tags if a.get("http-equiv") == "refresh"] == expected


def test_text_of_a_sweep_never_becomes_markup() -> None:
    name = "<script>alert(1)</script>\"'&</style><i>"
    records = sweeps.arm_and_control({"teacher": name, name: name}, own=[1, 2], control=[3, 4.5])
    failed = replace(
        records[-1],
        state=State.FAILED,
        run_uri=name,
        attempts=(sweeps._failed_attempt(name, name),),
    )
    found = outline(sweeps.ledger_of([*records[:-1], failed], uri=name, name=name))

    assert not {"script", "i"} & {tag for tag, _ in found.tags}
    assert [tag for tag, _ in found.tags].count("style") == 1
    assert found.text.count(name) > 5


def test_verdicts_stand_in_words_with_their_reasons(rich: Summary) -> None:
    table = verdicts(rich.arms, metric=rich.metric, mode=rich.mode).table
    rows = {row.head: row for row in table.rows}

    for arm in rich.arms:
        cells = rows[arm.label].cells
        if arm.comparison is not None:
            assert str(cells[0].text).endswith(f" {arm.comparison.verdict}")
            assert cells[0].note == arm.comparison.reason
    assert table.rows[0].cells[0].css == "verdict better"


def test_better_is_to_the_right_whether_less_or_more_is_better() -> None:
    places = []
    for mode, own in (("min", [2.0, 2.1]), ("max", [4.0, 4.1])):
        records = sweeps.arm_and_control({"teacher": "t"}, own=own, control=[3.0, 3.2])
        summary = summarise(sweeps.ledger_of(records, mode=mode))
        table = verdicts(summary.arms, metric=summary.metric, mode=summary.mode).table
        found = re.search(r'circle cx="([\d.]+)"', str(table.rows[0].cells[1].text))
        assert found is not None
        places.append(float(found[1]))

    assert min(places) > 66


def test_the_headline_counts_verdicts_and_names_the_largest_gain(rich: Summary) -> None:
    headline = verdicts(rich.arms, metric=rich.metric, mode=rich.mode).headline

    assert "6 better, 2 worse, 5 inconclusive" in headline
    assert "Largest gain: teacher=strong quality=1 weight=4 -> 1" in headline


def test_the_words_of_the_arms_are_explained_where_they_are_read() -> None:
    rich = outline(sweeps.rich_ledger()).text
    answer, _, _ = rich.partition("Where in the grid does it help?")
    assert "quality 0.25 is the teacher as it was after 25% of its steps" in answer
    assert "the same training without the teacher's losses, on labels alone" in answer
    assert "how much a loss counts beside the others" in answer
    plain = outline(sweeps.ledger_of([sweeps.trial_of({"optimizer.learning_rate": 1})])).text
    assert "quality 0.25" not in plain


@pytest.mark.parametrize(("num_seeds", "is_told"), [(2, True), (3, False)])
def test_two_seeds_are_a_caution(num_seeds: int, is_told: bool) -> None:
    records = sweeps.arm_and_control(
        {"teacher": "t"}, own=[2.0, 2.001, 2.1][:num_seeds], control=[3.0, 3.0, 3.0][:num_seeds]
    )
    text = outline(sweeps.ledger_of(records)).text
    assert "1 better" in text
    assert ("rests on one degree of freedom" in text) == is_told
    assert ("; two seeds" in text) == is_told


@pytest.mark.parametrize(
    ("is_over", "text"),
    [(True, "Over: 58 trials, 54 done"), (False, "In progress: 56 of 58 trials ended, 1 waiting")],
)
def test_the_state_says_how_far_the_sweep_is(is_over: bool, text: str) -> None:
    assert state_line(summarise(sweeps.rich_ledger(is_over=is_over))).startswith(text)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_no_numbers_leave_a_dash(value: float) -> None:
    records = sweeps.arm_and_control({"teacher": "t"}, own=[value, 2.0], control=[3.0, value])
    text = outline(sweeps.ledger_of(records)).text

    assert not re.search(r"\b(nan|inf)\b", text)


@pytest.mark.parametrize(
    "ledger",
    [
        sweeps.ledger_of([]),
        sweeps.ledger_of([sweeps.trial_of({}, state=State.WAITING)]),
        sweeps.ledger_of([sweeps.stage_of("t", values=[3.0])]),
        sweeps.ledger_of([sweeps.trial_of({}, evaluations=sweeps.evaluations_of([2.0]))]),
    ],
    ids=["empty", "waiting", "only a stage", "one trial"],
)
def test_a_sweep_with_little_in_it_has_a_page(ledger: Ledger) -> None:
    text = outline(ledger).text

    assert "Which arms beat their control?" in text
    assert "No arm has a control to be compared with." in text


def test_arms_over_all_tasks_have_a_table_that_leads_to_what_it_is() -> None:
    summary = summarise(study_ledger())
    table = aggregate_table(summary.aggregates, {a.id: a.label for a in summary.arms})
    text = page(summary, refresh_seconds=None)

    assert table.caption == "Arms over 2 tasks: probe/two/accuracy, probe/four/accuracy"
    assert [(row.head, *(cell.text for cell in row.cells)) for row in table.rows] == [
        ("control", "0.396", "", "3"),
        ("weight=1", "0.523", "1.00", "3"),
        ("weight=2", "0.643", "1.00", "2"),
    ]
    assert table.rows[1].cells[0].note == "0.514 to 0.541"
    assert 'href="#reading-aggregates"' in text
    assert 'id="reading-aggregates"' in text
    assert "reading-aggregates" not in page(replace(summary, aggregates=()), refresh_seconds=None)


def test_the_page_of_a_large_sweep_is_small_and_says_what_it_leaves_out() -> None:
    summary = summarise(sweeps.many_trials(3_000))
    text = page(summary, refresh_seconds=None)

    assert len(text.encode()) < 5_000_000
    assert "The table holds the best 500 arms; 100 more are in summary.json." in text
    assert "12 of 60 figures, those with the largest gains." in text
    assert "The best 6 of 9 arms." in text
