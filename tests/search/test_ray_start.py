"""What is said when Ray does not start on this machine."""

import pytest
import ray

from search.errors import ClusterUnavailable
from search.execution.ray_session import ray_session


def _fails(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def init(**given: object) -> None:
        raise error

    monkeypatch.setattr(ray, "init", init)


def test_a_machine_too_busy_to_start_ray_in_time_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray raises a bare Exception for it, which was a traceback."""
    _fails(monkeypatch, Exception("The current node timed out during startup. This could happen because"))
    with (
        pytest.raises(ClusterUnavailable, match=r"^Ray must be reachable at this machine; got The current node"),
        ray_session(None),
    ):
        pass


def test_a_machine_that_is_busy_for_a_while_gets_another_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray gives its first process half a minute, whatever else the machine does."""
    errors = [Exception("The current node timed out during startup."), Exception("The current node timed out during startup.")]
    given: list[dict[str, object]] = []

    def init(**more: object) -> None:
        given.append(more)
        if errors:
            raise errors.pop()

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr("search.execution.ray_session.cluster_nodes", lambda: [])
    with ray_session(None) as nodes:
        assert nodes == []
    assert len(given) == 3
    assert given[0] == given[2]


def test_an_error_of_ours_is_not_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    _fails(monkeypatch, TypeError("init() got an unexpected keyword argument"))
    with pytest.raises(TypeError, match="unexpected keyword"), ray_session(None):
        pass
