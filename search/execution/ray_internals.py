"""What is taken of Ray that Ray does not promise to keep; nothing else of `search` touches its underscores.

`tests/search/test_internals.py` says what must hold of each.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ray

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient


def autoscaled_groups() -> list[tuple[Mapping[str, float], int]]:
    """Resources of a node of each group of an autoscaling cluster, and how many of these there may be; none of other clusters."""
    config = ray._private.state.state.get_cluster_config()
    groups = [] if config is None else config.node_group_configs
    return [(dict(group.resources), group.max_count) for group in groups if group.max_count > 0]


def dashboard_answer(client: "JobSubmissionClient", path: str) -> Any:
    """What the dashboard says at a path, as JSON values, through the client's own address, token and headers.

    Raises:  ConnectionError, RuntimeError, ValueError: when it does not answer, or with anything else.
    """
    return client._do_request("GET", path).json()
