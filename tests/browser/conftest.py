"""A real Chromium, from the system: see tests/install.sh. Without one the tests skip."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from raykd.report.html import page as page_of
from raykd.report.summary import Summary

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A page in the browser, and what the browser had to say about it."""

    page: Page
    url: str
    messages: list[str] = field(default_factory=list)
    """On the console, and of scripts that failed."""

    requests: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


# One module, not the session: while it is there, this process has an event loop that runs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a Chromium that runs without a window."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium here: run tests/install.sh chromium chromium")
    with sync_playwright() as playwright:
        # Root has no sandbox; the pages are our own.
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Return a function that writes the page of a summary and opens it from disk."""
    pages: list[Page] = []

    def opened(summary: Summary, *, width: int = 1200, scheme: str = "light") -> Opened:
        path = tmp_path / "report.html"
        path.write_text(page_of(summary, refresh_seconds=None), encoding="utf-8")
        dark = scheme == "dark"
        page = browser.new_page(
            viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light"
        )
        pages.append(page)
        found = Opened(page=page, url=path.as_uri())
        page.on("console", lambda message: found.messages.append(message.text))
        page.on("pageerror", lambda error: found.messages.append(str(error)))
        page.on("request", lambda request: found.requests.append(request.url))
        page.on("requestfailed", lambda request: found.failed.append(request.url))
        page.goto(found.url)
        return found

    yield opened
    for page in pages:
        page.close()
