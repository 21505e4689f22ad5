"""MLflow's page: how its server is started, and the view of a search that it opens with."""

import base64
import io
import json
import os
import sys
import zlib
from typing import Any

import pytest
from bowl_events import plan_of

from search.records.plan import Confirmation
from search.records.tracking.server import serve
from search.records.tracking.view import saved_view, view_path
from trainables.contract import Objective


class Flushed(io.StringIO):
    """Knows whether it was."""

    flushed = False

    def flush(self) -> None:
        self.flushed = True


class Became(Exception):
    """Instead of the program that would take this one's place."""


def test_the_server_takes_this_processs_place_and_no_credentials_are_in_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[tuple[str, list[str]]] = []

    def become(program: str, command: list[str]) -> None:
        assert all(stream.flushed for stream in streams), "what was printed must not be lost"
        commands.append((program, command))
        raise Became("the server")

    streams = (Flushed(), Flushed())
    monkeypatch.setattr("os.execv", become)
    monkeypatch.setattr("sys.stdout", streams[0])
    monkeypatch.setattr("sys.stderr", streams[1])
    for name in ("MLFLOW_BACKEND_STORE_URI", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "PYTHONWARNINGS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "DEBUG")
    with pytest.raises(Became, match="the server"):
        serve("postgresql://u:secret@h/db", "127.0.0.1", 5001)
    ((program, command),) = commands
    assert program == sys.executable
    assert command == [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", "5001", "--workers", "1"),
        *("--uvicorn-opts", "--log-level critical"),
    ]
    assert os.environ["MLFLOW_BACKEND_STORE_URI"] == "postgresql://u:secret@h/db"
    assert os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert os.environ["PYTHONWARNINGS"] == "ignore"
    assert os.environ["MLFLOW_LOGGING_LEVEL"] == "DEBUG", "what the user has set stays"


def state_of(view: str) -> dict[str, Any]:
    """What MLflow's page makes of the tag."""
    kind, _, packed = json.loads(view)["state"].partition(";")
    assert kind == "deflate"
    found: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(packed)))
    return found


def test_the_view_shows_trials_only_best_first_with_the_columns_that_matter() -> None:
    plan = plan_of(further_objectives=(Objective("valid/cost", "min"),))
    view = saved_view(plan, 1234)
    assert {key: value for key, value in json.loads(view).items() if key != "state"} == {
        "name": "dermtune",
        "createdAt": 1234,
        "updatedAt": 1234,
    }
    state = state_of(view)
    assert state.pop("selectedColumns") == [
        "metrics.`best/score`",
        "metrics.`best/epoch`",
        "metrics.`best/valid/height`",
        "metrics.`best/valid/cost`",
        "metrics.`train_s`",
        "tags.`reason`",
        "attributes.`Models`",
        *(f"params.`{field.name}`" for field in plan.searched),
    ]
    assert state == {
        "searchFilter": "tags.kind = 'trial'",
        "orderByKey": "metrics.`best/score`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "FIRST_10_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
    }


def test_the_highest_score_is_first_where_more_is_better() -> None:
    assert state_of(saved_view(plan_of(objective=Objective("valid/gain", "max")), 0))["orderByAsc"] is False


def test_runs_of_a_confirmation_are_ordered_by_their_values_and_show_no_score() -> None:
    confirmation = Confirmation("bowls", (), 3, 1)
    state = state_of(saved_view(plan_of(confirmation=confirmation), 0))
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`best/valid/height`", True)
    assert "metrics.`best/score`" not in state["selectedColumns"]


def test_a_link_opens_the_view() -> None:
    assert view_path("7") == "/#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=dermtune"
