"""One cluster for all tests here.

Continuous integration installs what it takes (openssh-server, rsync, iproute2); where that is missing the tests are skipped.
"""

import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from hosts import HOME, Host, Place
from network import REPOSITORY, Network, missing, network
from ray_cluster import Cluster, rendered
from strangers import attempts

FOLDER = Path(__file__).parent
SHIPPED = REPOSITORY / "clusters" / "onprem.yaml"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here are slow and share one cluster: one process runs them, and nothing beside them (`make cluster`).

    Two clusters side by side, one of them for the faults, took as long: starting Ray's processes keeps both cores busy.
    """
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.slow)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))  # the first test waits for the cluster, the last for its end


def _furnish(client: Place, key: Path, config: Mapping[str, Any]) -> Path:
    """Gives the client a key, a token and a checkout with this cluster's file, and says where it sees that."""
    for folder in (".ssh", ".ray"):
        (client.home / folder).mkdir(mode=0o700)
    shutil.copy(key, client.home / ".ssh" / "id_ed25519")
    (client.home / ".ray" / "auth_token").write_text(secrets.token_hex(32))
    leave_out = [f"--exclude={pattern}" for pattern in config["rsync_exclude"]]
    leave_out += [f"--filter=dir-merge,- {name}" for name in config["rsync_filter"]]
    subprocess.run(["rsync", "-a", *leave_out, f"{REPOSITORY}/", f"{client.home}/checkout/"], check=True, timeout=60)
    file = Path("checkout", "clusters", "onprem.yaml")
    (client.home / file).write_text(yaml.safe_dump(dict(config), sort_keys=False))
    return HOME / file


def _make(made: Network) -> Cluster:
    head, *workers = cast("list[Host]", made.add(Host, "head", "worker-1", "worker-2"))
    client, stranger = made.add(Place, "client", "stranger")
    file = _furnish(client, made.key, rendered(SHIPPED.read_text(), head, tuple(workers), made.storage))
    environment = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    return Cluster(file, file.parents[1], head, tuple(workers), client, stranger, made.storage, environment)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Three nodes, up; taken down with `ray down` at the end, which must leave nothing."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with network() as made:
        cluster = _make(made)
        cluster.up()
        cluster.strangers.update(attempts(cluster))
        yield cluster
        if request.session.exitstatus != pytest.ExitCode.INTERRUPTED:
            cluster.down()
