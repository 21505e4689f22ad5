"""Those who try to run code on the cluster without its token. They try from its first minute on: a refusal takes half of one."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess

    from ray_cluster import Cluster

WRONG = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
NONE = {"RAY_AUTH_MODE": "disabled"}
RIGHT = {"RAY_AUTH_MODE": "token"}

#: Writes a file wherever Ray lets it run.
_TASK = """
import pathlib, sys, ray
ray.init(sys.argv[1])
file = pathlib.Path(sys.argv[2])
ray.get(ray.remote(lambda: file.write_text("ran")).options(num_cpus=1).remote())
"""


def attempts(cluster: "Cluster") -> "dict[str, subprocess.Popen[str]]":
    """Over Ray's own port from a host, and over its client's: whoever lets itself in writes a file of this name."""
    own, clients = f"{cluster.head.ip}:6379", f"ray://{cluster.head.ip}:10001"
    from_host = cluster.workers[1]  # the other one is killed by a test
    return {
        name: place.popen(["python", "-c", _TASK, address, str(cluster.storage / name)], environment)
        for name, place, address, environment in (
            ("without, from a host", from_host, own, NONE),
            ("with a wrong one, from a host", from_host, own, WRONG),
            ("with a wrong one", cluster.stranger, own, WRONG),
            ("without, over the client's port", cluster.stranger, clients, NONE),
            ("with a wrong one, over the client's port", cluster.stranger, clients, WRONG),
        )
    }


def admitted(cluster: "Cluster") -> bool:
    """Whether one with the token can run the same."""
    file = cluster.storage / "with it"
    command = ["python", "-c", _TASK, f"{cluster.head.ip}:6379", str(file)]
    return cluster.workers[0].run(command, RIGHT, timeout_s=120).returncode == 0 and file.exists()
