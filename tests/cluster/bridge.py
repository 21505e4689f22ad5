"""A bridge in a network namespace of its own that no route leads to, and the cables of what hangs on it."""

import os
import shlex
import shutil
import subprocess
from contextlib import suppress

NETWORK = "10.77.0"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: What runs under it is killed by the kernel when the thread that started it ends, so at the latest with this process.
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


def program(name: str) -> str | None:
    """Where a program is; a user's PATH often leaves out where Debian keeps `sshd` and `ip`."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}")


def must(command: list[str]) -> None:
    """Runs a command that takes no time.

    Raises:  OSError: with what it said, when it fails.
    """
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"}
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=30, check=False)
    if done.returncode != 0:
        raise OSError(f"{shlex.join(command)} must succeed; got {done.stderr.strip() or done.stdout.strip()}")


class Bridge:
    """Addresses `10.77.0.<number>`. Nothing of it is seen from outside, so two may be there at once."""

    def __init__(self) -> None:
        self._first: subprocess.Popen[str] | None = None

    def open(self) -> None:
        """Lays it."""
        lay = "ip link add bridge type bridge && ip link set bridge up && echo ready && exec sleep infinity"
        command = [*DIES_WITH_US, "unshare", "--net", "bash", "-c", f"PATH=$PATH:{SYSTEM_PATH}; {lay}"]
        self._first = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, start_new_session=True)
        assert self._first.stdout is not None
        with self._first.stdout as said:
            if said.readline() != "ready\n":
                raise OSError("the bridge must come up; got an error (does this kernel let root make namespaces and bridges?)")

    def close(self) -> None:
        """Takes it down; twice does no harm."""
        first, self._first = self._first, None
        if first is not None:
            first.kill()
            first.wait(10)

    def attach(self, name: str, number: int, process: int) -> None:
        """Gives the network namespace of a process an interface on the bridge.

        Args:    name: of the cable's end on the bridge; 15 characters at most.
                 number: decides its addresses, which so stay when it is attached anew.
                 process: its id here.
        """
        mac, ip = f"02:00:0a:4d:00:{number:02x}", f"{NETWORK}.{number}/24"
        self._beside("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(process), "address", mac)
        self._beside("link", "set", name, "master", "bridge", "up")
        inside = ["nsenter", f"--target={process}", "--net", "ip"]
        for change in (["address", "add", ip, "dev", "eth0"], ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"]):
            must([*inside, *change])

    def detach(self, name: str) -> None:
        """Takes an interface away, if it is there."""
        with suppress(OSError):
            self._beside("link", "delete", name)

    def set_up(self, name: str, up: bool) -> None:
        """Plugs a cable in or pulls it."""
        self._beside("link", "set", name, "up" if up else "down")

    def _beside(self, *change: str) -> None:
        if self._first is None:
            raise OSError("the bridge must be open; got a closed one")
        must(["nsenter", f"--target={self._first.pid}", "--net", "ip", *change])
