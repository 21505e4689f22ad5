"""What every test needs: a cache and a home of its own, and the shared data if they are there."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A machine that does other things draws slowly now and then; pytest-timeout bounds every test as it is.
settings.register_profile("dermtune", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dermtune")

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


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
