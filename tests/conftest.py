"""What every test needs: a cache and a home of its own, and the shared data if they are there."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

# A machine that does other things draws slowly now and then; pytest-timeout bounds every test as it is.
settings.register_profile("dermtune", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dermtune")

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


class OneCluster(LoadScopeScheduling):
    """All tests of tests/cluster/ in one process of pytest-xdist, every other test where there is room."""

    def _split_scope(self, nodeid: str) -> str:
        return "cluster" if nodeid.startswith("tests/cluster/") else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`--dist loadgroup` as documented: pytest-xdist 3.8 loses its groups with pytest 9.2 (its issue 1386)."""
    return OneCluster(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that lasts for the test session, so that a synthetic set is drawn once."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("DERMTUNE_CACHE", str(folder))
    for name in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS", "DERMTUNE_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture(scope="session")
def synthetic_derm7pt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Derm7pt folder of 60 synthetic cases, 96 px."""
    from trainables.data.derm7pt_synthetic import write

    folder = tmp_path_factory.mktemp("synthetic") / "derm7pt set"
    write(folder, 60, 96, 0)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that need it say so and are skipped where it is missing."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the shared data at {SHARED_DATA}, which are not part of the repository")
    return SHARED_DATA
