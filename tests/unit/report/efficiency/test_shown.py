"""Sizes and frontiers in the terminal, on the page and in the files."""

import io
import json
import re
from pathlib import Path

import pytest
from raykd.report.efficiency.latencies import Latency, read_latencies
from raykd.report.efficiency.words import milliseconds
from raykd.report.html import page
from raykd.report.html.frontier import MAX_POINTS
from raykd.report.summary import Summary, summarise
from raykd.report.terminal import WIDTH, terminal_report
from raykd.report.write import write_report
from rich.console import Console

from tests.sized_ledger import WEIGHT, sized_ledger, tiny_size
from tests.sweeps import arm_and_control, ledger_of, many_trials

LATENCIES = tuple(
    Latency(
        model=tiny_size(layers).id,
        tokens=10,
        cpu="A CPU",
        threads=1,
        milliseconds=float(layers),
        num_passes=20,
        load=0.0,
    )
    for layers in (1, 2, 3)
)


@pytest.fixture(scope="module")
def sized() -> Summary:
    return summarise(sized_ledger(), latencies=LATENCIES)


def shown(summary: Summary) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=WIDTH, highlight=False).print(
        terminal_report(summary, page_uri="report.html")
    )
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_terminal_has_a_line_for_each_model_and_the_frontiers_arms(sized: Summary) -> None:
    lines = shown(sized)
    assert all(len(line) <= WIDTH for line in lines)
    words = [" ".join(line.split()) for line in lines]
    (teacher,) = (line for line in words if line.startswith("teacher small (bert, 1 layer x 32)"))
    assert " ".join(words).count("latency of one row of 10 tokens") == 1
    # 5,000 tokens in 100 s on 2 cores.
    assert teacher.endswith("50 0.0556 1 ms")
    assert "Pareto frontier by milliseconds for one example: 2 of 3 arms" in words
    assert "teacher=small weight=1 2.1000 3 ms" in words
    # With its teacher's training.
    assert "teacher=small weight=1 2.1000 13 M" in words


def test_the_page_has_both_figures_the_table_and_what_latencies_are_of(sized: Summary) -> None:
    text = page(sized, refresh_seconds=None)
    assert re.findall(r'<title id="frontier-(.*)-title"', text) == ["flops", "latency"]
    assert "How large are the models?" in text
    assert "1 threads of A CPU" not in text
    assert "median, 1 thread of A CPU" in text
    assert re.search(r"<th scope=\"row\">teacher=small weight=1</th>", text)
    without = page(summarise(sized_ledger()), refresh_seconds=None)
    assert "raykd report measures latencies" in without
    assert "How large are the models?" not in page(
        summarise(many_trials(10)), refresh_seconds=None
    )


def test_a_name_in_a_figure_never_becomes_markup() -> None:
    name = "<script>alert(1)</script>"
    records = arm_and_control({name: 1, WEIGHT: 1}, own=[1.0, 1.1], control=[3.0, 3.1])
    summary = summarise(ledger_of(records))
    assert [len(frontier.points) for frontier in summary.frontier] == [2]
    assert "<script>" not in page(summary, refresh_seconds=None)


def test_of_many_arms_all_on_the_frontier_and_some_others_are_drawn() -> None:
    records = [
        record
        for index in range(MAX_POINTS + 20)
        for record in arm_and_control({WEIGHT: index}, own=[float(index)], control=[3.0])
    ]
    text = page(summarise(ledger_of(records)), refresh_seconds=None)
    (figure,) = re.findall(r"id=\"frontier-flops-title\".*?</svg>", text, flags=re.DOTALL)
    assert "more arms off the frontier are not drawn" in text
    assert figure.count("<circle") == MAX_POINTS + len(
        re.findall(r'class="mark x"[^>]*>\d</', figure)
    )


def test_what_was_measured_is_kept_beside_the_report(tmp_path: Path, sized: Summary) -> None:
    uri = str(tmp_path / "report")
    write_report(sized_ledger(), sized, directory_uri=uri)
    assert read_latencies([str(tmp_path), uri]) == LATENCIES
    manifest = json.loads((tmp_path / "report" / "manifest.json").read_text())
    assert "latency.json" in manifest["files"]
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert summary["sizes"]["rows"][0]["size"]["model_type"] == "bert"
    assert [frontier["cost"] for frontier in summary["frontier"]] == ["flops", "latency"]
    assert summary["total_cost"]["core_seconds"] == sized.total_cost.core_seconds > 0


@pytest.mark.parametrize(("value", "text"), [(0.123456, "0.123 ms"), (1234.5, "1,234 ms")])
def test_latencies_have_three_digits(value: float, text: str) -> None:
    assert milliseconds(value) == text
