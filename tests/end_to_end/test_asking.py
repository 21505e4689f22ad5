"""Spaces, plans, warm starts, limits, budgets, confirmation and replay, by the command line."""

import json
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from commands import Here

pytestmark = pytest.mark.slow


def configs(folder: Path, name: str) -> list[dict[str, Any]]:
    """What a search has tried, in order."""
    lines = (folder / "runs" / name / "ledger.jsonl").read_text().splitlines()
    return [event["config"] for event in map(json.loads, lines) if event["event"] == "suggested"]


def test_a_space_narrows_a_plan_repeats_and_a_warm_start_learns(here: Here) -> None:
    first = here.run(
        *("search", "bowl", "--name", "first", "--trials", "12", "--max-epochs", "9", "--no-pictures"),
        *("--space", "x=0.2..0.4", "--space", "noise=0.0..0.1", "--seed", "3"),
    )
    assert first.status == 0, first.err
    tried = configs(here.folder, "first")
    assert all(0.2 <= config["x"] <= 0.4 for config in tried)
    assert len({config["noise"] for config in tried}) >= 11  # narrowed fields are searched; the model may go to the edge twice
    plan = str(here.folder / "runs" / "first" / "plan.json")
    again = here.run("search", "bowl", "--plan", plan, "--name", "again", "--max-concurrent", "1", "--no-pictures", "--json")
    assert again.status == 0, again.err
    repeated = configs(here.folder, "again")
    assert repeated[:3] == tried[:3]
    assert all(0.2 <= config["x"] <= 0.4 for config in repeated)
    warm = here.run(
        *("search", "bowl", "--name", "warm", "--trials", "6", "--max-epochs", "9", "--warm-start", "first"),
        *("--space", "x=0.3..0.5", "--space", "noise=0.0..0.1", "--no-pictures", "--json"),
    )
    assert warm.status == 0, warm.err
    fitting = sum(0.3 <= config["x"] <= 0.5 for config in tried)
    assert f"starts from {fitting} trials of first; {12 - fitting} do not fit" in warm.err
    best = min(
        (row for row in here.run("show", "first", "--json").json["trials"] if 0.3 <= row["config"]["x"] <= 0.5),
        key=lambda row: row["score"],
    )
    assert configs(here.folder, "warm")[1]["x"] == best["config"]["x"]
    other = here.run("search", "gated", "--warm-start", "first")
    assert (other.status, "must be a search of gated" in other.err) == (2, True)


def test_the_epoch_budget_and_export_hold_what_they_say(here: Here) -> None:
    done = here.run("search", "bowl", "--name", "short", "--epoch-budget", "30", "--max-epochs", "9", "--no-pictures", "--json")
    assert (done.status, done.json["ended"]) == (0, "epoch budget")
    more = here.run("resume", "short", "--epoch-budget", "+20", "--no-pictures", "--json")
    assert more.status == 0, more.err
    curves = pd.read_parquet(here.folder / "runs" / "short" / "curves.parquet")
    assert {"trial", "epoch", "score", "seconds", "valid/height", "config/x"} <= set(curves.columns)
    assert 50 <= len(curves) <= 50 + 2 * 9
    database = f"sqlite:///{here.folder / 'elsewhere.db'}"
    assert here.run("export", "short", "--to", database).status == 0
    study = optuna.load_study(study_name="short", storage=database)
    assert len(study.trials) == len(configs(here.folder, "short"))


def test_on_pure_noise_confirm_says_that_none_is_better(here: Here) -> None:
    noise = ("--set", "x=0", "--set", "y=0", "--set", "shape=round", "--set", "noise=1", "--space", "rate=0.5..1")
    searched = here.run(
        "search", "bowl", "--name", "luck", "--trials", "16", "--max-epochs", "30", "--scheduler", "none", "--no-pictures", *noise
    )
    assert searched.status == 0, searched.err
    confirmed = here.run("confirm", "luck", "--top", "5", "--seeds", "3", "--json")
    assert confirmed.status == 0, confirmed.err
    found = confirmed.json
    assert found["sentence"].startswith("No configuration is better than another")
    assert len(found["tied"]) == 4
    # The best of sixteen noisy values promises what nobody can keep.
    assert found["curse"] > 0.3
    page = Path(found["report"])
    assert page.read_text().startswith("<!doctype html>")
    assert "No configuration is better than another" in page.with_suffix(".md").read_text()
    best = here.run("best", "luck", "--confirmed", "--json")
    assert best.status == 0, best.err
    assert best.json[0]["checkpoint"] == found["checkpoint"]
    assert here.run("doctor", "luck-confirm").status == 0


@pytest.mark.long
def test_confirm_on_cases_and_folds_reads_the_test_split_once(here: Here) -> None:
    small = ("--set", "size_px=91", "--set", "width=0.5", "--set", "k=2", "--set", "sampling=balanced")
    here.run("data", "synth", "derm7pt", "cases", "--cases", "150", "--size", "96")
    searched = here.run(
        *("search", "gated", "--data", "derm7pt:cases", "--preset", "demo", "--name", "small", "--trials", "3"),
        *("--max-epochs", "3", "--scheduler", "none", "--no-pictures", *small),
    )
    assert searched.status == 0, searched.err
    confirmed = here.run("confirm", "small", "--top", "2", "--seeds", "3", "--json")
    assert confirmed.status == 0, confirmed.err
    found = confirmed.json
    assert found["sampled"] == "cases and seeds"
    assert {len(standing["values"]) for standing in found["standings"]} == {3}
    winner = next(standing for standing in found["standings"] if standing["trial"] == found["winner"])
    assert winner["interval"][0] < winner["mean"] < winner["interval"][1]
    assert found["winner_metrics"]["valid/auroc_mean"] == [winner["mean"], winner["interval"]], "one number has one interval"
    assert found["test_note"].startswith("Reading 1 of the test split")
    assert set(found["test_metrics"]) >= {"test/auroc_mean", "test/melanoma/auroc"}
    readings = (here.folder / "runs" / "test_readings.jsonl").read_text().splitlines()
    assert len(readings) == 1
    folded = here.run("confirm", "small", "--top", "2", "--seeds", "2", "--folds", "2", "--json")
    assert folded.status == 0, folded.err
    assert folded.json["name"] == "small-confirm-2"
    assert {len(standing["values"]) for standing in folded.json["standings"]} == {4}
    evaluated = here.run("evaluate", folded.json["checkpoint"], "--data", "derm7pt:cases#fold=1/2", "--json")
    other = here.run("evaluate", folded.json["checkpoint"], "--data", "derm7pt:cases#fold=2/2", "--json")
    values = next(s["values"] for s in folded.json["standings"] if s["trial"] == folded.json["winner"])
    assert {evaluated.json["metrics"]["valid/auroc_mean"], other.json["metrics"]["valid/auroc_mean"]} & set(values)


def test_replay_compares_strategies_and_draws_them(here: Here) -> None:
    assert (
        here.run(
            "search", "bowl", "--name", "known", "--trials", "12", "--max-epochs", "9", "--scheduler", "none", "--no-pictures"
        ).status
        == 0
    )
    done = here.run(
        *("replay", "known", "--sampler", "random", "--sampler", "tpe", "--scheduler", "asha", "--scheduler", "none"),
        *("--grace-period", "1", "--seeds", "3", "--json"),
    )
    assert done.status == 0, done.err
    strategies = {(entry["sampler"], entry["scheduler"]): entry for entry in done.json["strategies"]}
    assert set(strategies) == {("random", "asha"), ("random", "none"), ("tpe", "asha"), ("tpe", "none")}
    assert strategies["random", "none"]["epochs"] == 12 * 9
    assert strategies["random", "asha"]["epochs"] < 12 * 9
    assert strategies["random", "none"]["regret"] == 0
    assert Path(done.json["plot"]).read_bytes()[:4] == b"\x89PNG"
    unknown = here.run("replay", "known", "--sampler", "tpee")
    assert (unknown.status, "did you mean 'tpe'" in unknown.err) == (2, True)
