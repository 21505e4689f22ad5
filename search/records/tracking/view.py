"""The view of a search that MLflow's page opens with: trials only, best first, with the columns that matter."""

import base64
import json
import zlib

from search.records.plan import Plan
from search.records.tracking.store import KIND_TAG, TRIAL

#: As it stands in the page's menu "Views", and in links.
NAME = "dermtune"
#: MLflow keeps the views that it shares in tags of the experiment, in the format of its own page.
VIEW_TAG = f"mlflow.sharedViewState.{NAME}"


def saved_view(plan: Plan, created_ms: int) -> str:
    """The value of the experiment's tag.

    Args:    plan: its objectives and searched fields become columns.
             created_ms: milliseconds since 1970.
    """
    values = [f"best/{objective.metric}" for objective in plan.objectives]
    scored = plan.ranked_by == "score"
    metrics = [*(["best/score"] if scored else []), "best/epoch", *values, "train_s"]
    columns = [f"metrics.`{name}`" for name in metrics]
    columns += ["tags.`reason`", "attributes.`Models`", *(f"params.`{field.name}`" for field in plan.searched)]
    state = {
        "searchFilter": f"tags.{KIND_TAG} = '{TRIAL}'",
        "orderByKey": f"metrics.`{'best/score' if scored else values[0]}`",
        "orderByAsc": plan.objective.mode == "min",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
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
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    return json.dumps({"name": NAME, "createdAt": created_ms, "updatedAt": created_ms, "state": f"deflate;{packed}"})


def view_path(experiment_id: str) -> str:
    """The view's address below MLflow's page."""
    return f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={NAME}"
