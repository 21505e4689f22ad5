"""A node whose processes do not start is named before the first trial."""

from pathlib import Path

import pytest

from search.execution import nodes

pytestmark = pytest.mark.slow


def test_a_node_that_starts_no_process_is_named_in_time(ray_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (report,) = nodes.examine_nodes(None, tmp_path)
    assert report.problems == ()
    monkeypatch.setattr(nodes, "_START_WITHIN_S", 0.0)
    (report,) = nodes.examine_nodes(None, tmp_path)
    assert report.problems == ("has started no process of Ray's within 0 s (/tmp/ray/session_latest/logs there says why)",)
    assert list(tmp_path.iterdir()) == []
