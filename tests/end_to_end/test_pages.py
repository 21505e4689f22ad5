"""A reproduction, interrupted and resumed, and the pages that people open: nothing is missing in them; screenshots are kept."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Here, Shell
from playwright.sync_api import Page, sync_playwright

pytestmark = [pytest.mark.slow, pytest.mark.long]
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
SMALL = ("--set", "size_px=96", "--set", "batches_per_epoch=1", "--set", "k=2")


def look_at(page: Page, file: Path, headings: tuple[str, ...], num_pictures: int) -> None:
    """Opens a page from its file alone; whatever it asks for elsewhere, or complains of, is a failure."""
    wrong = list[str]()
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
    page.on("requestfailed", lambda request: wrong.append(f"missing {request.url[:80]}"))
    page.goto(file.as_uri())
    assert page.locator("h1").count() == 1
    assert page.locator("h2, h3").all_inner_texts()[: len(headings)] == list(headings)
    assert page.locator("figure").count() >= num_pictures
    for figure in page.locator("figure").all():
        box = figure.locator("svg, img").first.bounding_box()
        assert box is not None
        assert box["width"] > 100, "a picture is drawn, and can be seen"
        assert box["height"] > 50
    assert "%%" not in page.locator("body").inner_text(), "every picture is in its place"
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, "nothing runs over the edge of a laptop's screen"
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{file.stem}.png", full_page=True)
    assert wrong == []


def test_a_reproduction_is_resumed_and_its_pages_stand_alone(
    shell: Shell, here: Here, eventually: Callable[[Callable[[], bool], str], None]
) -> None:
    source = "derm7pt:small set"
    assert here.run("data", "synth", "derm7pt", "small set", "--cases", "60", "--size", "96").status == 0
    ledger = shell.folder / "runs" / "again" / "ledger.jsonl"
    begun = shell.start(
        *("reproduce", "gated", "--data", source, "--preset", "demo", "--name", "again", "--seeds", "2", "--max-epochs", "2"),
        *SMALL,
    )
    eventually(lambda: ledger.is_file() and b'"finished"' in ledger.read_bytes(), "a run")
    begun.send_signal(signal.SIGINT)
    assert shell.finish(begun).status == 130
    assert not (shell.folder / "runs" / "again" / "reproduction.html").exists()
    resumed = here.run("resume", "again", "--json")
    assert resumed.status == 0, resumed.err
    document = json.loads(resumed.out)
    found = {row["experiment"]: row for row in document["experiments"]}
    assert list(found) == ["standard", "half", "double", "gates-off", "binary"]
    assert all(len(row["epochs"]) == 2 and not row["failures"] for row in found.values())
    assert document["other_data"].startswith("the paper has derm7pt train 413")
    assert found["standard"]["metrics"]["BWV/recall"]["paper"] == 0.765
    assert found["binary"]["confusions"]["seven_point"].keys() == {"classes", "1", "3", "direct"}
    readings = (shell.folder / "runs" / "test_readings.jsonl").read_text().splitlines()
    assert len(readings) == 10, "each run's checkpoint has read the test split once"
    assert json.loads(here.run("resume", "again", "--json").out) == document
    assert len((shell.folder / "runs" / "test_readings.jsonl").read_text().splitlines()) == 10, "and never again"
    assert here.run("doctor", "again").status == 0
    refused = here.run("resume", "again", "--trials", "+2")
    assert refused.status == 2
    assert "a reproduction must go on as it was planned" in refused.err

    (best,) = json.loads(here.run("best", "again", "--json").out)
    assert here.run("explain", best["checkpoint"], "--data", source, "--cases", "3", "--out", "why").status == 0
    assert here.run("report", "again").status == 0
    runs = shell.folder / "runs" / "again"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            for file, headings, num_pictures in (
                (runs / "reproduction.html", ("Table 2: the seven criteria", "standard", "half"), 2),
                (runs / "report.html", (), 8),
                (shell.folder / "why" / "explanation.html", (), 4),
            ):
                context = browser.new_context(viewport={"width": 1280, "height": 800})
                look_at(context.new_page(), file, headings, num_pictures)
                context.close()
        finally:
            browser.close()
