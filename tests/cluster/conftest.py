"""A cluster of three hosts on this machine, made by `ray up` from the file that we ship. Continuous integration installs
what that takes (iproute2, openssh-server, rsync); where it is missing the tests are skipped."""

import re
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from hosts import HOME, REPOSITORY, USER, Host, Network, Place, missing, network

FOLDER = Path(__file__).parent
SHIPPED = REPOSITORY / "clusters" / "onprem.yaml"
NUM_HOSTS = 3
_NODES_WITHIN_S = 90
#: Without its head a worker gives up after a minute; see `ray down`.
_GONE_WITHIN_S = 150
_RAY = re.compile(r"raylet|gcs_server|ray::|[/ ]ray[/-]")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here are slow and share one cluster, so one process of pytest-xdist should run them (`--dist loadgroup`)."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.xdist_group("cluster"))
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(300))  # the first test waits for the cluster, the last for its end


@dataclass(frozen=True)
class Cluster:
    """Three hosts on which `ray up` has started Ray, and who talks to them.

    Attributes: file: that it was made from, as the client sees it.
                checkout: folder of the client from which `ray up` was run.
                head, workers: Ray's nodes; each has two CPUs.
                client: has the token and the key.
                stranger: is on the same network and has neither.
                storage: folder that all of them see at this path, as does this process.
                environment: for commands of the client.
    """

    file: Path
    checkout: Path
    head: Host
    workers: tuple[Host, ...]
    client: Place
    stranger: Place
    storage: Path
    environment: Mapping[str, str]

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The head and the workers."""
        return (self.head, *self.workers)

    @property
    def token(self) -> str:
        """What lets one in."""
        return (self.client.home / ".ray" / "auth_token").read_text()

    def ask(self, *command: str, timeout_s: float = 120) -> "subprocess.CompletedProcess[str]":
        """Runs a command at the client's, in the checkout."""
        return self.client.run(command, self.environment, timeout_s, self.checkout)

    def num_active(self) -> int:
        """Nodes that the head has heard of lately; 0 while it does not answer."""
        said = self.head.run(["bash", "-c", "ray status"], timeout_s=60).stdout
        active = said.partition("Active:")[2].partition("Pending:")[0]
        return sum(int(count) for count in re.findall(r"^ (\d+) ", active, re.MULTILINE))

    def wait_for_nodes(self, num: int = NUM_HOSTS, timeout_s: float = _NODES_WITHIN_S) -> None:
        """Waits until so many nodes are active, the head among them."""
        if not _happens(lambda: self.num_active() == num, timeout_s):
            log = self.head.run("tail -n 40 /tmp/ray/session_latest/logs/monitor.*; ray status").stdout
            pytest.fail(f"{num} nodes must be active within {timeout_s} s: {log}")

    def ray_processes(self) -> list[str]:
        """What of Ray's runs on any host."""
        return [f"{host.name}: {line}" for host in self.hosts for line in host.processes() if _RAY.search(line)]

    def down(self) -> None:
        """`ray down`, until nothing of Ray's is left."""
        done = self.ask("ray", "down", "-y", str(self.file))
        assert done.returncode == 0, done.stdout + done.stderr
        gone = _happens(lambda: not self.ray_processes(), _GONE_WITHIN_S)
        assert gone, f"`ray down` must leave nothing; got {self.ray_processes()}"


def _happens(what: Callable[[], bool], timeout_s: float) -> bool:
    end = time.monotonic() + timeout_s
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.5)
    return True


def rendered(text: str, head: Host, workers: tuple[Host, ...], storage: Path) -> dict[str, Any]:
    """The shipped file with what a user fills in, with the Python that is here instead of a new one, and with small nodes.

    Args:    text: of the shipped file.
             head, workers: hosts that let the client's key in.
             storage: folder that all of them see.
    """
    config = yaml.safe_load(text)
    config["provider"] |= {"head_ip": head.ip, "worker_ips": [worker.ip for worker in workers]}
    config["auth"] = {"ssh_user": USER, "ssh_private_key": str(HOME / ".ssh" / "id_ed25519")}
    (folder,) = re.findall(r'DERMTUNE_STORAGE="(.*)"', text)
    setup = [command.replace(folder, str(storage)) for command in config["setup_commands"] if "/bin/pip install" not in command]
    there = setup.index("python3 -m venv ~/dermtune-venv")
    setup[there] = f"ln -sfn {shlex.quote(sys.prefix)} ~/dermtune-venv"
    config["setup_commands"] = setup
    small = r"\g<0> --num-cpus=2 --object-store-memory=200000000"
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        config[key] = [re.sub(r"ray start", small, command) for command in config[key]]
    return cast("dict[str, Any]", config)


def _furnish(client: Place, made: Network, config: Mapping[str, Any]) -> Path:
    """Gives the client a key, a token and a fresh checkout with this cluster's file.

    Without the fresh one `ray up` would read all of `.venv` and `.git`, which it does not send, for its hash.
    """
    for folder in (".ssh", ".ray"):
        (client.home / folder).mkdir(mode=0o700)
    shutil.copy(made.key, client.home / ".ssh" / "id_ed25519")
    (client.home / ".ray" / "auth_token").write_text(secrets.token_hex(32))
    leave_out = [f"--exclude={pattern}" for pattern in config["rsync_exclude"]]
    leave_out += [f"--filter=dir-merge,- {name}" for name in config["rsync_filter"]]
    subprocess.run(["rsync", "-a", *leave_out, f"{REPOSITORY}/", f"{client.home}/checkout/"], check=True, timeout=60)
    file = client.home / "checkout" / "clusters" / "onprem.yaml"
    file.write_text(yaml.safe_dump(dict(config), sort_keys=False))
    return HOME / "checkout" / "clusters" / "onprem.yaml"


def _make(made: Network) -> Cluster:
    places = made.add((Host, "head"), (Host, "worker-1"), (Host, "worker-2"), (Place, "client"), (Place, "stranger"))
    head, *workers = (place for place in places if isinstance(place, Host))
    client, stranger = places[-2:]
    file = _furnish(client, made, rendered(SHIPPED.read_text(), head, tuple(workers), made.storage))
    environment = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    return Cluster(file, file.parents[1], head, tuple(workers), client, stranger, made.storage, environment)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Three nodes, up; taken down with `ray down` at the end, which must leave nothing."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with network() as made:
        cluster = _make(made)
        up = cluster.ask("ray", "up", "-y", "--no-config-cache", str(cluster.file), timeout_s=180)
        assert up.returncode == 0, up.stdout + up.stderr
        cluster.wait_for_nodes()
        yield cluster
        cluster.down()
