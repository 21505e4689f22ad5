"""What several tests of searches need."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without an experiment: making its tables takes longer than copying them."""
    from search.records.tracking.store import open_client  # slow to import, and few tests need it

    file = tmp_path_factory.mktemp("fresh") / "mlflow.db"
    open_client(f"sqlite:///{file}")
    return file
