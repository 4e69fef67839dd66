"""The files of a report, each replaced whole: readers see the old or the new one."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from raykd import strict_json
from raykd.config.schema.questions import QuestionConfig
from raykd.config.spelling import as_keys
from raykd.report import html
from raykd.report.efficiency.latencies import LATENCIES
from raykd.report.pairing import pairing_of
from raykd.report.summary import Summary
from raykd.report.tables import evaluations_table, parquet, trials_table
from raykd.report.two_studies.comparison import TwoStudies
from raykd.storage import uris
from raykd.storage.published.publishing import write_files
from raykd.sweep.ledger import Ledger
from raykd.sweep.questions.answers import Answer

KIND = "report"
COMPARISON_KIND = "comparison"
PAGE = "report.html"

_DEFAULTS = asdict(QuestionConfig())
"""What a question is where its file says nothing."""


def write_report(
    ledger: Ledger, summary: Summary, *, directory_uri: str, refresh_seconds: int | None = None
) -> str:
    """Write the page, the summary and the tables; return the page's URI.

    Args:
        ledger: What the summary is of.
        summary: What the ledger says.
        directory_uri: Where the files go.
        refresh_seconds: How often the page asks to be read again; None for never.
    """
    pairing = pairing_of(ledger)
    page = html.page(summary, refresh_seconds=refresh_seconds)
    contents = {
        # Repeated, and not measured again, by the next report.
        **({LATENCIES: strict_json.file_content(summary.latencies)} if summary.latencies else {}),
        "trials.parquet": parquet(trials_table(pairing)),
        "evaluations.parquet": parquet(evaluations_table(pairing.ledger)),
        "summary.json": strict_json.file_content(_as_json(summary)),
        # Files are written in this order: whoever sees a new page finds the numbers that it refers
        # to.
        PAGE: page.encode(),
    }
    write_files(directory_uri, contents, kind=KIND)
    return uris.join(directory_uri, PAGE)


def write_comparison(studies: TwoStudies, *, directory_uri: str) -> None:
    """Write ``comparison.json``: two studies side by side, in the fields of ``TwoStudies``."""
    contents = {"comparison.json": strict_json.file_content(studies)}
    write_files(directory_uri, contents, kind=COMPARISON_KIND)


def _as_json(summary: Summary) -> dict[str, Any]:
    """Return a summary as its file has it: answers name their arms, and say what was asked."""
    labels = {arm.id: arm.label for arm in summary.arms}
    answers = [_answer_as_json(answer, labels) for answer in summary.answers]
    return {f.name: getattr(summary, f.name) for f in fields(summary)} | {"answers": answers}


def _answer_as_json(answer: Answer, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return an answer for others to read.

    Args:
        answer: To write.
        labels: Arm to its label; an arm that the study has no more is its own.
    """
    saved = asdict(answer)
    weights: dict[str, float] = saved.pop("weights")
    given = {key: value for key, value in saved["question"].items() if value != _DEFAULTS[key]}
    given = as_keys({"questions": {answer.name: given}})["questions"][answer.name]
    return saved | {
        "question": {"expect": answer.question.expect, **given},
        "num_seeds": answer.num_seeds,
        "arms": [
            {"id": arm, "label": labels.get(arm, arm), "weight": weight}
            for arm, weight in weights.items()
        ],
    }
