"""The hosts that the other tests here rest on: apart from each other and from this machine, and gone when they must be."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import psutil
import pytest
from hosts import HOME, Host, Place
from network import Network, missing, network
from waiting import happens

#: Makes a host that runs something, says which processes there are for it and where its folder is, and waits.
HOLD = """
import signal
import psutil
from hosts import Host
from network import network
with network() as made:
    (host,) = made.add(Host, "lonely")
    host.popen("sleep 1000 & setsid sleep 1000")
    while len(found := psutil.Process().children(recursive=True)) < 6:  # looked at once: what sshd begins may end any moment
        pass
    print(made.storage.parent, *(process.pid for process in found), flush=True)
    signal.pause()
"""


@pytest.fixture
def made() -> Iterator[Network]:
    """An empty network."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    with network() as made:
        yield made


def pair(made: Network) -> tuple[Host, Place]:
    """A host, and a place that has its key."""
    (host,), (place,) = cast("list[Host]", made.add(Host, "one")), made.add(Place, "two")
    (place.home / "key").write_bytes(made.key.read_bytes())
    (place.home / "key").chmod(0o600)
    return host, place


def login(host: Host, place: Place, command: str) -> "subprocess.CompletedProcess[str]":
    """A command by ssh, as Ray runs one."""
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=2", "BatchMode=yes"]
    return place.run(["ssh", "-i", "key", *(part for option in options for part in ("-o", option)), host.ip, command])


def test_places_are_apart_and_share_only_the_storage(made: Network) -> None:
    host, place = pair(made)
    assert login(host, place, "uname -n; echo $HOME").stdout.splitlines() == ["one", str(HOME)]
    here = Path("/tmp/dermtune-only-here")
    for folder in ("/tmp", "/dev/shm", "/run", "~"):
        place.run(f"touch {folder}/{here.name}")
        assert place.run(f"test -e {folder}/{here.name}").returncode == 0
        assert host.run(f"test -e {folder}/{here.name}").returncode == 1
    assert not here.exists()
    assert not (HOME / here.name).exists()
    place.run(f"echo seen > '{made.storage}/file'")
    assert host.run(f"cat '{made.storage}/file'").stdout == (made.storage / "file").read_text() == "seen\n"
    sleeping = host.popen(["sleep", "1001"])
    assert happens(lambda: "sleep 1001" in host.processes(), 5)
    assert "sleep 1001" not in place.run("ps -eo args").stdout
    assert host.run("ip -brief route").stdout.startswith("10.77.0.0/24 ")
    assert host.run("ip -brief route").stdout.count("\n") == 1, "no way out"
    assert sleeping.poll() is None


def test_a_cable_is_pulled_and_put_back(made: Network) -> None:
    host, place = pair(made)
    host.cut()
    assert login(host, place, "true").returncode == 255
    host.mend()
    assert happens(lambda: login(host, place, "true").returncode == 0, 10)


def test_a_killed_host_is_silent_and_comes_back_with_its_home(made: Network) -> None:
    host, place = pair(made)
    login(host, place, "touch ~/kept /tmp/lost; setsid sleep 1002 > /dev/null 2>&1 &")
    assert happens(lambda: "sleep 1002" in host.processes(), 5)
    host.kill()
    assert not host.processes()
    assert login(host, place, "true").returncode == 255
    host.start()
    assert happens(lambda: login(host, place, "ls ~/kept /tmp/lost").stdout == f"{HOME}/kept\n", 10)
    assert "sleep 1002" not in host.processes()


def test_a_command_that_takes_too_long_is_killed(made: Network) -> None:
    _, place = pair(made)
    with pytest.raises(subprocess.TimeoutExpired, match=r"timed out after 0\.5 seconds"):
        place.run("sleep 1003; true", timeout_s=0.5)
    assert happens(lambda: not any("1003" in line for line in place.processes()), 5)


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_of_a_network_whose_process_is_told_to_end(kind: signal.Signals) -> None:
    if missing() is not None:
        pytest.skip(str(missing()))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(folder) for folder in Path(__file__).parents[:2])}
    command, pipe = [sys.executable, "-c", HOLD], subprocess.PIPE
    holder = subprocess.Popen(command, env=environment, text=True, stdout=pipe, stderr=pipe)
    assert holder.stdout is not None
    folder, *processes = holder.stdout.readline().split()
    assert len(processes) >= 6
    holder.send_signal(kind)
    holder.communicate(timeout=30)
    assert happens(lambda: not any(psutil.pid_exists(int(process)) for process in processes), 10)
    if kind == signal.SIGKILL:  # nobody is there who could remove it
        subprocess.run(["rm", "-r", folder], check=True)
    assert not Path(folder).exists()
