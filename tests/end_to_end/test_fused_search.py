"""A search whose trials train as one program beside one with a process each: the same trials, values, books."""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from commands import Here, Shell
from striking import Striker, struck_search

from search.records.events import Event, Reported, Saved
from trainables.contract import LATENCY_MS

pytestmark = pytest.mark.slow
#: 4 epochs of 10 batches: 40 steps, in double precision. What changes a shape is fixed.
FIXED = ("precision=float64", "sampling=uniform", "batch_size=16", "width=0.5", "batches_per_epoch=10")
#: At higher rates a network may collapse and say the same of all cases up to rounding, which an AUROC would then rank.
SPACE = ("--space", "learning_rate=log:1e-4..2e-3")
GATED = (
    *("search", "gated", "--no-pictures", "--sampler", "random", "--scheduler", "none", "--trials", "10", "--max-epochs", "4"),
    *(part for setting in FIXED for part in ("--set", setting)),
    *(*SPACE, "--save-every", "2s", "--seed", "3"),
)
BOWL = ("search", "bowl", "--no-pictures", "--trials", "12", "--max-epochs", "9", "--set", "seconds_per_epoch=0.05")


def events(folder: Path, name: str, *kinds: str) -> list[dict[str, Any]]:
    """A search's ledger, as far as whole lines of it are there."""
    file = folder / "runs" / name / "ledger.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1] if file.is_file() else []
    return [event for event in map(json.loads, lines) if not kinds or event["event"] in kinds]


def curves(folder: Path, name: str) -> dict[str, list[dict[str, float]]]:
    """Trial → its epochs' metrics, without what the clock says."""
    found: dict[str, list[dict[str, float]]] = {}
    for event in events(folder, name, "reported"):
        for epoch in event["epochs"]:
            metrics = {key: value for key, value in epoch["metrics"].items() if key != LATENCY_MS}
            found.setdefault(event["trial"], []).append({"epoch": epoch["epoch"], "score": epoch["score"], **metrics})
    return found


def outcomes(folder: Path, name: str) -> dict[str, tuple[str, str]]:
    """Trial → how it ended, and why; each once."""
    ended = events(folder, name, "finished", "stopped", "failed")
    assert set(Counter(event["trial"] for event in ended).values()) == {1}
    return {event["trial"]: (event["event"], event["reason"]) for event in ended}


def processes(folder: Path, name: str) -> dict[str, set[int]]:
    """Trial → processes that it ran in."""
    found: dict[str, set[int]] = {}
    for event in events(folder, name, "started"):
        found.setdefault(event["trial"], set()).add(event["where"]["pid"])
    return found


def assert_clean(here: Here, name: str) -> None:
    """Tune, Optuna and MLflow say what the ledger says."""
    examined = here.run("doctor", name, "--json")
    assert (examined.status, examined.json["differences"]) == (0, []), examined.out


def assert_same(folder: Path, one: str, other: str) -> None:
    """Two searches tried the same and found the same, to 1e-8."""
    configs = [{e["trial"]: e["config"] for e in events(folder, name, "suggested")} for name in (one, other)]
    assert configs[0] == configs[1]
    assert outcomes(folder, one) == outcomes(folder, other)
    found, expected = curves(folder, one), curves(folder, other)
    assert found.keys() == expected.keys()
    for trial, epochs in expected.items():
        assert [epoch["epoch"] for epoch in found[trial]] == list(range(1, len(epochs) + 1))
        for ours, theirs in zip(found[trial], epochs, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-8, rel=1e-8), trial


def done(here: Here, *arguments: str) -> Any:
    """What a search says at its end."""
    finished = here.run(*arguments, "--json")
    assert finished.status == 0, finished.err
    return finished.json


@pytest.mark.long
def test_the_same_trials_have_the_same_values_killed_and_resumed_as_well(
    shell: Shell, here: Here, eventually: Callable[[Callable[[], bool], str], None]
) -> None:
    alone = done(here, *GATED, "--name", "alone")
    one_array = ("--fuse-trials", "8", "--max-concurrent", "1")
    fused = done(here, *GATED, *one_array, "--name", "fused")
    assert_same(shell.folder, "fused", "alone")
    assert_clean(here, "fused")
    first = [f"t{index:04d}" for index in range(8)]
    assert len(set.union(*(processes(shell.folder, "fused")[trial] for trial in first))) == 1, "eight in one process"
    assert fused["best_trial"] == alone["best_trial"]
    assert fused["best_value"] == pytest.approx(alone["best_value"], abs=1e-8)

    killed = shell.start(*GATED, *one_array, "--name", "killed")
    eventually(lambda: len(events(shell.folder, "killed", "saved")) >= 8, "a state of each member")
    os.kill(killed.pid, signal.SIGKILL)
    shell.finish(killed)
    resumed = done(here, "resume", "killed", "--no-pictures")
    assert events(shell.folder, "killed", "continued")
    assert_same(shell.folder, "killed", "alone")
    assert_clean(here, "killed")
    assert resumed["best_trial"] == alone["best_trial"]

    (best,) = here.run("best", "killed", "--json", "--out", "winner").json
    (own,) = here.run("best", "alone", "--json").json
    assert (best["trial"], best["epoch"]) == (own["trial"], own["epoch"])
    document = json.loads((shell.folder / "winner" / best["trial"] / "config.json").read_text())
    assert document["metrics"]["valid/auroc_mean"] == pytest.approx(own["value"], abs=1e-8)


def test_trials_that_are_paused_and_promoted_end_once(here: Here) -> None:
    done(here, *BOWL, "--name", "fused", "--fuse-trials", "4", "--scheduler", "asha-promote")
    assert outcomes(here.folder, "fused").keys() == {f"t{index:04d}" for index in range(12)}
    assert events(here.folder, "fused", "promoted")
    for own in curves(here.folder, "fused").values():
        assert [epoch["epoch"] for epoch in own] == list(range(1, len(own) + 1))
    assert_clean(here, "fused")


def test_members_that_fail_take_no_other_with_them(here: Here) -> None:
    finished = here.run(*BOWL, "--name", "fused", "--fuse-trials", "4", "--set", "fault=raise_tilted", "--json")
    found = outcomes(here.folder, "fused")
    tilted = {e["trial"] for e in events(here.folder, "fused", "suggested") if e["config"]["shape"] == "tilted"}
    assert finished.status == 0, finished.err
    assert len(found) == 12
    for trial, (how, why) in found.items():
        assert (how == "failed") == (trial in tilted), (trial, how, why)
        assert trial not in tilted or "RuntimeError: the bowl broke" in why
    assert_clean(here, "fused")


def test_an_array_whose_process_is_killed_goes_on_from_its_members_states(here: Here) -> None:
    saved = set[str]()

    def six_have_saved(event: Event) -> bool:
        if isinstance(event, Saved):
            saved.add(event.trial)
        return isinstance(event, Reported) and len(saved) == 6

    striker = Striker((signal.SIGKILL,), six_have_saved)
    result = struck_search(
        *(here.folder / "runs", striker, "struck", {"seconds_per_epoch": "0.05", "shape": "round"}),
        **{"num_trials": 12, "max_epochs": 9, "scheduler": "none", "save_every_s": 0.3, "max_concurrent": 1, "fuse_trials": "6"},
    )
    assert len(striker.struck) == 1
    assert result.ended == "all trials"
    retried = events(here.folder, "struck", "retried")
    assert len(retried) == 6
    assert {event["kind"] for event in retried} == {"died"}
    assert {tuple(event["suspects"]) for event in retried} == {("t0000", 3), ("t0003", 3)}, "in halves"
    assert set(outcomes(here.folder, "struck").values()) == {("finished", "max_epochs")}
    assert all([epoch["epoch"] for epoch in own] == list(range(1, 10)) for own in curves(here.folder, "struck").values())
    assert_clean(here, "struck")


def refusal(here: Here, arguments: Sequence[str]) -> str:
    """What is said of a request that makes no sense."""
    finished = here.run(*arguments)
    assert finished.status == 2
    return finished.err


def test_what_cannot_be_fused_is_refused_or_said(here: Here) -> None:
    assert "--fuse-trials must be auto, off or 1 to 256; got 'many'" in refusal(here, [*BOWL, "--fuse-trials", "many"])
    assert "--fuse-trials must be off or auto for attentive" in refusal(here, ["search", "attentive", "--fuse-trials", "4"])
    done(here, *BOWL, "--name", "measured", "--fuse-trials", "auto")
    (note,) = [event["text"] for event in events(here.folder, "measured", "noted") if "one program" in event["text"]]
    assert note.startswith("trials train as one program where they agree in shape: fix some of these (--set)")
    assert len(outcomes(here.folder, "measured")) == 12
    assert_clean(here, "measured")
