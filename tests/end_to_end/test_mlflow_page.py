"""MLflow's page as a person uses it, in a real browser: sort, compare, look at a picture. Screenshots are kept."""

import os
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import Shell
from playwright.sync_api import Page, sync_playwright
from waiting import wait_until

pytestmark = pytest.mark.slow
SCREENSHOTS = Path(os.environ.get("DERMTUNE_SCREENSHOTS", Path(__file__).parents[2] / "build" / "screenshots"))
CHROMIUM = "/usr/bin/chromium"
SIZE = {"width": 1700, "height": 950}
PICTURE = {"gated": "sharing", "attentive": "attention"}
#: MLflow opens an assistant over the table at the first visit.
CLOSED = "localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false');" + (
    "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"
)


def answers(port: int) -> bool:
    """Whether MLflow is up."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def page() -> Iterator[Page]:
    """A browser's page that keeps what goes wrong in `failures`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        found = browser.new_page(viewport=SIZE)
        found.add_init_script(CLOSED)
        found.set_default_timeout(60_000)
        yield found
        browser.close()


def rows(page: Page) -> list[str]:
    """Run ids in the table, from the top."""
    found = page.locator(".ag-center-cols-container .ag-row, .ag-pinned-left-cols-container .ag-row")
    order = {row.get_attribute("row-id"): int(row.get_attribute("row-index") or 0) for row in found.all()}
    return sorted((str(run) for run in order), key=lambda run: order[run])


def settled(page: Page, score_of: dict[str, float], *, descending: bool) -> None:
    """Waits until the table begins with runs of the five best or worst scores, in order; equals may stand in any."""
    expected = sorted(score_of.values(), reverse=descending)[:5]
    wait_until(
        lambda: [score_of.get(run) for run in rows(page)[: len(expected)]] == expected,
        f"a table that begins with {expected}",
        120,
    )


def keep(page: Page, name: str) -> None:
    """Takes a screenshot."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


@pytest.mark.parametrize("task", ["gated", "attentive"])
def test_a_search_is_compared_in_mlflows_page(
    recorded: Any, shell: Shell, eventually: Any, page: Page, unused_port: int, task: str
) -> None:
    searched = recorded(task)
    top = searched.here.run("best", "small", "--top", "5", "--json").json
    scored = [row for row in searched.here.run("show", "small", "--json").json["trials"] if row["score"] is not None]
    by_score = {row["trial"]: row["score"] for row in sorted(scored, key=lambda row: -row["score"])}

    port = unused_port
    ui = shell.start("ui", "--port", str(port), "--storage", str(searched.folder / "runs"), fresh=True)
    eventually(lambda: answers(port), "MLflow's page")
    from search.records.tracking.store import trial_runs

    runs = {trial: run for trial, (run, _) in trial_runs(searched.uri, "small").items()}
    score_of = {runs[trial]: score for trial, score in by_score.items()}

    # The view that `dermtune ui` links to: trials only, best first.
    link = f"http://127.0.0.1:{port}/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=dermtune"
    page.goto(link)
    settled(page, score_of, descending=True)
    assert page.get_by_text("best/score", exact=True).first.is_visible()
    keep(page, f"{task}-runs")

    # A click on the column's head turns the order round, a second one back.
    head = page.locator(".ag-header-cell").get_by_text("best/score", exact=True)
    head.click()
    settled(page, score_of, descending=False)
    head.click()
    settled(page, score_of, descending=True)

    for run in [*score_of][:5]:
        page.locator(f'.ag-row[row-id="{run}"]').get_by_label(re.compile("toggle row selection")).first.click()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text("Comparing 5 Runs from 1 Experiment").wait_for()
    assert page.get_by_role("tab", name="Parallel Coordinates Plot").get_attribute("aria-selected") == "true"
    page.locator(".js-plotly-plot .parcoords").first.wait_for()
    keep(page, f"{task}-compared")

    winner = top[0]["mlflow_run_id"]
    assert winner == runs[top[0]["trial"]]
    page.goto(f"http://127.0.0.1:{port}/#/experiments/1/runs/{winner}")
    page.get_by_text("the mean of three validations").first.wait_for()
    keep(page, f"{task}-trial")
    page.goto(f"http://127.0.0.1:{port}/#/experiments/1/runs/{winner}/artifacts/pictures/{PICTURE[task]}.png")
    page.wait_for_function("[...document.querySelectorAll('img')].some(i => i.src.startsWith('blob:') && i.naturalWidth > 300)")
    keep(page, f"{task}-picture")
    os.kill(ui.pid, 2)
    ended = shell.finish(ui)
    assert "Traceback" not in ended.err


def test_the_report_is_one_page_that_needs_nothing_else(recorded: Any, page: Page) -> None:
    report = Path(recorded("bowl").json["report"])
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(report.as_uri())
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
    assert wrong == []
    figures = page.get_by_role("img")
    assert figures.count() >= 6
    assert all(box is not None and box["width"] > 200 for box in (figure.bounding_box() for figure in figures.all()))
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 300)")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / "report.png", full_page=True)
