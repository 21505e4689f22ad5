"""Nouns that only we had: none of them is left in code, tests or documents."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: What was called by a name of our own → what Ray Tune's, Optuna's and Syne Tune's users call it. Modules by their dotted end.
NOW = {
    "Conductor": "SearchController",
    "Bridge": "OptunaController",
    "Race": "ConfirmationController",
    "Heat": "PlannedRun",
    "Grid": "ReproductionController",
    "ConductedScheduler": "SearchScheduler",
    "ArraySize": "FusionSize",
    "Silence": "Heartbeat",
    "Suspects": "IsolationGroup",
    "PoolSampler": "TabularSampler",
    "PatientCaller": "RetryingCaller",
    "Senders": "RunQueue",
    "conductor": "controller",
    "wait_for_room": "wait_for_disk_space",
    "records.room": "records.disk_space",
    "records.notices": "records.event_messages",
    "records.readings": "records.split_readings",
    "execution.again": "execution.replanning",
    "execution.preparation": "execution.planning",
    "execution.reproducing": "execution.reproduction_plan",
    "strategy.pool": "strategy.tabular_sampler",
    "strategy.projection": "strategy.study_from_state",
    "tracking.patience": "tracking.retrying",
    "tracking.senders": "tracking.run_queue",
}
#: Where the words mean something else: a bridge between the hosts of a cluster; this list.
ELSEWHERE = ("tests/cluster/", "tests/conformance/test_glossary.py", "CHANGELOG.md")
ROOMS = (
    ".github", "benchmarks", "clusters", "docs", "examples", "models", "search", "spaces", "tests", "trainables",
)  # fmt: skip
SUFFIXES = (".py", ".md", ".toml", ".ipynb", ".yml", ".yaml", ".json")


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Every file of code and words, by its path."""
    below = [file for room in ROOMS for file in (ROOT / room).rglob("*")]
    found = {
        str(file.relative_to(ROOT)): file for file in [*ROOT.glob("*"), *below] if file.suffix in SUFFIXES and file.is_file()
    }
    assert len(found) > 500
    return {name: file.read_text(encoding="utf-8") for name, file in found.items() if not name.startswith(ELSEWHERE)}


@pytest.mark.parametrize(("word", "now"), NOW.items())
def test_no_noun_of_our_own_is_left(word: str, now: str, texts: dict[str, str]) -> None:
    pattern = re.compile(rf"(?<!\w){word.replace('.', '[./]')}(?!\w)")
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}" for name, text in texts.items() for match in pattern.finditer(text)
    ]
    assert not found, f"{word} is {now} now"
