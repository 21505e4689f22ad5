"""`search.run` takes what `SearchSpec` has, by name, and passes it on as the command line does."""

import inspect
from dataclasses import fields
from pathlib import Path

import pytest
from bowl_events import begun, epoch_of, event_of, lines_of, plan_of, reported

import search
from search.errors import SearchNotFound
from search.records.folder import SearchFolder
from search.records.spec import SearchSpec


def test_every_option_is_an_argument_by_name() -> None:
    parameters = inspect.signature(search.run).parameters
    assert all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    own = {*parameters} - set(search._ELSEWHERE)
    assert own == {field.name for field in fields(SearchSpec)}
    assert all(parameters[name].default is None for name in own), "what is not given is as the command line has it"
    told = str(search.run.__doc__)
    assert all(f"{name}:" in told or f"{name}," in told or f" {name}" in told for name in parameters)


def test_a_search_is_opened_by_its_name(tmp_path: Path) -> None:
    plan, folder = plan_of(name="mine"), SearchFolder(tmp_path / "my runs", "mine")
    folder.create(plan).release()
    epochs = [epoch_of(epoch, 4.0 - epoch, 4.0 - epoch, is_best=True) for epoch in (1, 2, 3)]
    events = [event_of("search_started", 0.0), *begun("t0", 1.0), reported("t0", 2.0, *epochs)]
    folder.ledger_file.write_text(lines_of(events))
    found = search.open("mine", str(tmp_path / "my runs"))
    assert found.ended == "not ended"
    assert found.best is not None
    assert (found.best.trial, found.best.best_epoch, len(found.trials), len(found.curves)) == ("t0", 3, 1, 3)
    assert found.checkpoint(found.best) is None
    folder.ledger_file.write_text(lines_of([*events, event_of("search_ended", 9.0, reason="all trials")]))
    assert search.open("mine", str(tmp_path / "my runs")).ended == "all trials"
    with pytest.raises(SearchNotFound, match="yours"):
        search.open("yours", str(tmp_path / "my runs"))


def test_an_argument_that_does_not_exist_is_named() -> None:
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'metrics'"):
        search.run("bowl", metrics=["valid/height"])  # type: ignore[call-arg]


def test_a_request_that_must_change_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="shape must be"):
        search.run("bowl", settings={"shape": "square"}, num_trials=1)
    assert not list(tmp_path.rglob("plan.json"))
