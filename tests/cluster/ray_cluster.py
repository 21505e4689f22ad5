"""A cluster of hosts on this machine, made by `ray up` from the file that we ship."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from hosts import HOME, USER, Host, Place
from waiting import happens

NUM_NODES = 3
#: What `ray start` gets besides: no host may take all of this machine for itself.
SMALL = "--num-cpus=2 --object-store-memory=200000000"
_OBJECT_STORE_PORT = 9000
_NODES_WITHIN_S = 90
_OBJECTS_WITHIN_S = 60
#: Nobody tells the workers. Their raylets give up after 25 s, Ray's agents try to tell a driver for another one.
_GONE_WITHIN_S = 150
#: By hand, since each `ray status` or `dermtune jobs` imports Ray: a core would be busy with nothing else.
_GET = """
import sys, urllib.request
url, token = sys.argv[1:]
request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
print(urllib.request.urlopen(request, timeout=10).read().decode())
"""
_RAY = re.compile(r"raylet|gcs_server|ray::|ray-dashboard|/ray/")


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
                strangers: what tries to run code without the token, by what it has instead.
    """

    file: Path
    checkout: Path
    head: Host
    workers: tuple[Host, ...]
    client: Place
    stranger: Place
    storage: Path
    environment: Mapping[str, str]
    strangers: "dict[str, subprocess.Popen[str]]" = field(default_factory=dict)

    def serve_objects(self) -> "subprocess.Popen[str]":
        """Starts an object store on the head, with one empty bucket, `lesions`; the caller ends it."""
        server = self.head.popen([sys.executable, "-m", "moto.server", "-H", self.head.ip, "-p", str(_OBJECT_STORE_PORT)])
        make = "import boto3; boto3.client('s3').create_bucket(Bucket='lesions')"
        command, environment = [sys.executable, "-c", make], object_store(self.head)
        made = happens(lambda: self.head.run(command, environment).returncode == 0, _OBJECTS_WITHIN_S)
        assert made, self.head.run(command, environment).stderr
        return server

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

    def told(self, path: str) -> Any:
        """What the head's dashboard answers.

        Raises:  OSError: when it does not answer.
        """
        asked = self.head.run([sys.executable, "-S", "-c", _GET, f"http://127.0.0.1:8265/api/{path}", self.token])
        if asked.returncode != 0:
            raise OSError(f"the dashboard must answer; got {asked.stderr}")
        return json.loads(asked.stdout)

    def nodes(self) -> dict[str, str]:
        """Address → Ray's id of the nodes that the head counts on."""
        found = self.told("v0/nodes?limit=100&detail=false")["data"]["result"]["result"]
        return {node["node_ip"]: node["node_id"] for node in found if node["state"] == "ALIVE"}

    def num_active(self) -> int:
        """Nodes that the head counts on; 0 while it does not answer."""
        try:
            return len(self.nodes())
        except OSError:
            return 0

    def wait_for_nodes(self, num: int = NUM_NODES, timeout_s: float = _NODES_WITHIN_S) -> None:
        """Waits until so many nodes are active, the head among them."""
        if not happens(lambda: self.num_active() == num, timeout_s, every_s=1):
            log = self.head.run("ray status; tail -n 60 /tmp/ray/session_latest/logs/monitor.log").stdout
            pytest.fail(f"{num} nodes must be active within {timeout_s} s: {log}")

    def ray_processes(self) -> list[str]:
        """What of Ray's runs on any host."""
        return [f"{host.name}: {line}" for host in self.hosts for line in host.processes() if _RAY.search(line)]

    def up(self) -> None:
        """`ray up`, until all nodes are active."""
        done = self.ask("ray", "up", "-y", "--no-config-cache", str(self.file), timeout_s=180)
        assert done.returncode == 0, done.stdout + done.stderr
        self.wait_for_nodes()

    def down(self) -> None:
        """`ray down`, until nothing of Ray's is left."""
        done = self.ask("ray", "down", "-y", str(self.file))
        assert done.returncode == 0, done.stdout + done.stderr
        gone = happens(lambda: not self.ray_processes(), _GONE_WITHIN_S)
        assert gone, f"`ray down` must leave nothing; got {self.ray_processes()}"


def object_store(head: Place) -> dict[str, str]:
    """What leads to an object store on the head; the nodes know it from the start, whether it runs or not."""
    return {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": f"http://{head.ip}:{_OBJECT_STORE_PORT}",
    }


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
    commands = [command.replace(folder, str(storage)) for command in config["setup_commands"]]
    commands = [command for command in commands if "/bin/pip install" not in command]
    commands[commands.index("python3 -m venv ~/dermtune-venv")] = f"ln -sfn {shlex.quote(sys.prefix)} ~/dermtune-venv"
    exports = [f"echo 'export {name}={value}' >> ~/.dermtune.env" for name, value in object_store(head).items()]
    config["setup_commands"] = [*commands, *exports]
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        config[key] = [command.replace("ray start", f"ray start {SMALL}") for command in config[key]]
    return cast("dict[str, Any]", config)
