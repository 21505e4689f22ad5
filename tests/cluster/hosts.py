"""Hosts on one machine: each a place with an address, processes, a /tmp and a home of its own, on one private network.

Nothing of it is seen from outside: the network hangs on a bridge in a network namespace that no route leads to, so two runs
may use the same addresses. Every namespace lives as long as its first process, and that one dies with this process, however
it ends; only the folder is left for `close` to remove. It takes root, iproute2, and openssh-server for hosts.
"""

import atexit
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]
#: Where a login puts it, whatever HOME says here: ssh asks for the account's.
HOME = Path(pwd.getpwuid(os.geteuid()).pw_dir)
USER = pwd.getpwuid(os.geteuid()).pw_name
BINARIES = Path(sys.executable).parent

_SCRIPT = Path(__file__).with_name("place.sh")
_NETWORK = "10.77.0"
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: The kernel kills what runs under it when the thread that started it ends.
_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")
_ANSWERS_WITHIN_S = 20
_SSHD = """\
ListenAddress {ip}
HostKey {home}/.sshd/host_key
AuthorizedKeysFile {home}/.sshd/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PidFile none
MaxStartups 100
MaxSessions 100
"""


def missing() -> str | None:
    """What keeps hosts from being made on this machine, None when nothing does."""
    if os.geteuid() != 0:
        return "needs root: it makes network namespaces"
    programs = ("ip", "sshd", "ssh", "ssh-keygen", "rsync", "unshare", "nsenter", "setpriv")
    absent = [name for name in programs if _program(name) is None]
    if absent:
        return f"needs {', '.join(absent)} (Debian's packages iproute2, openssh-server, openssh-client, rsync, util-linux)"
    return None


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")


def _pid_space(process: int) -> str:
    return str(Path(f"/proc/{process}/ns/pid").readlink())


def _must(command: Sequence[str]) -> None:
    done = subprocess.run(command, text=True, capture_output=True, timeout=30, check=False)
    if done.returncode != 0:
        raise OSError(f"{shlex.join(command)} must succeed; got {done.stderr.strip() or done.stdout.strip()}")


class Place:
    """Somewhere on the network where commands run: with an address and a home, without an sshd.

    Args:    network: that it is on.
             name: its hostname, and its interface's on the bridge; 15 characters at most.
             number: last part of its address.
    """

    def __init__(self, network: "Network", name: str, number: int) -> None:
        self._network, self.name, self._number = network, name, number
        self.ip = f"{_NETWORK}.{number}"
        self.folder = network.folder / name
        #: What the place sees as `HOME`, from here: it outlives a `kill`.
        self.home = self.folder / "home"
        self.home.mkdir(parents=True)
        self._unshare: subprocess.Popen[str] | None = None
        self._init: psutil.Process | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not been killed."""
        return self._init is not None

    def start(self) -> None:
        """Starts it; again after a `kill`, with the same address and home and an empty /tmp."""
        shutil.copy(self._network.names, self.folder / "hosts")
        command = [
            *_DIES_WITH_US,
            "unshare",
            "--net",
            "--uts",
            "--ipc",
            "--mount",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
        ]
        command += ["bash", str(_SCRIPT), self.name, str(self.folder), str(HOME), *map(str, self._network.kept)]
        with (self.folder / "place.log").open("ab") as log:
            self._unshare = subprocess.Popen(
                [*command, "--", *self._first_process()],
                env=self.environment({}),
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        to, said = self._unshare.stdin, self._unshare.stdout
        assert to is not None
        assert said is not None
        with to, said:
            if said.readline() != "ready\n":
                raise OSError(f"{self.name} must start; got {(self.folder / 'place.log').read_text()[-2000:]}")
            (self._init,) = psutil.Process(self._unshare.pid).children()
            self._network.attach(self.name, self._number, self._init.pid)
            to.write("go\n")
        self._wait_until_it_answers()

    def kill(self) -> None:
        """Ends everything in it at once, as if its plug were pulled: nobody on the network hears of it. It may be dead already."""
        unshare, self._unshare, self._init = self._unshare, None, None
        if unshare is None:
            return
        self._network.detach(self.name)
        with suppress(psutil.NoSuchProcess):
            for process in psutil.Process(unshare.pid).children() or [unshare]:
                process.kill()
        unshare.wait(30)  # the kernel lets the first process of a PID namespace go last

    def cut(self) -> None:
        """Pulls its cable."""
        self._network.switch("ip", "link", "set", self.name, "down")

    def mend(self) -> None:
        """Puts its cable back."""
        self._network.switch("ip", "link", "set", self.name, "up")

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """All variables of a command that runs in it; none of this process's."""
        path = os.pathsep.join([str(BINARIES), _SYSTEM_PATH])
        own = {
            "HOME": str(HOME),
            "USER": USER,
            "LOGNAME": USER,
            "SHELL": "/bin/bash",
            "PATH": path,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
        }
        # A host's commands see what a login sees there: bash reads this file, if it is there.
        return {**own, "BASH_ENV": f"{HOME}/.dermtune.env", **more}

    def run(
        self,
        command: str | Sequence[str],
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60,
        cwd: str | Path = HOME,
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a command in it to its end; one that takes too long is killed.

        Args:    command: words, or a line for bash.
                 env: added to its environment.
                 timeout_s: seconds that it may take.
                 cwd: folder, as the place sees it.
        Returns: status, stdout and stderr.
        Raises:  subprocess.TimeoutExpired: with what it had said.
        """
        process = self.popen(command, env, cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out, err = process.communicate(timeout=timeout_s)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def popen(
        self,
        command: str | Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: str | Path = HOME,
        stdin: int | IO[Any] | None = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = subprocess.DEVNULL,
        stderr: int | IO[Any] | None = subprocess.DEVNULL,
    ) -> "subprocess.Popen[str]":
        """Starts a command in it, in a process group of its own; it ends with the place at the latest. See `run`."""
        words = ["bash", "-c", command] if isinstance(command, str) else list(command)
        return subprocess.Popen(
            [*self._inside(), "env", f"--chdir={cwd}", *words],
            env=self.environment(env or {}),
            text=True,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )

    def processes(self) -> list[str]:
        """Command lines of all that runs in it, its first process left out."""
        if self._init is None:
            return []
        found, space = [], _pid_space(self._init.pid)
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess, OSError):
                if _pid_space(process.pid) == space and process != self._init:
                    found.append(shlex.join(process.cmdline()))
        return [line for line in found if line]  # a zombie has none

    def _inside(self) -> list[str]:
        if self._init is None:
            raise OSError(f"{self.name} must be running; got a dead place (start)")
        spaces = ("--mount", "--uts", "--ipc", "--net", "--pid")
        return [*_DIES_WITH_US, "nsenter", f"--target={self._init.pid}", *spaces]

    def _first_process(self) -> list[str]:
        return ["sleep", "infinity"]

    def _wait_until_it_answers(self) -> None:
        pass


class Host(Place):
    """A place that lets the network's key in by ssh."""

    def __init__(self, network: "Network", name: str, number: int) -> None:
        super().__init__(network, name, number)
        own = self.home / ".sshd"
        own.mkdir()
        _make_key(own / "host_key")
        shutil.copy(network.key.with_suffix(".pub"), own / "authorized_keys")
        (own / "config").write_text(_SSHD.format(ip=self.ip, home=HOME))

    def _first_process(self) -> list[str]:
        # By its whole path: it starts itself anew for each connection.
        return [str(_program("sshd")), "-D", "-e", "-f", str(HOME / ".sshd" / "config")]

    def _wait_until_it_answers(self) -> None:
        end = time.monotonic() + _ANSWERS_WITHIN_S
        while self.run(f"exec 3<> /dev/tcp/{self.ip}/22").returncode != 0:
            if time.monotonic() > end:
                raise OSError(f"sshd on {self.name} must answer; got {(self.folder / 'place.log').read_text()[-2000:]}")
            time.sleep(0.1)


class Network:
    """A bridge, and the places on it. See `network`.

    Attributes: folder: of all that belongs to it.
                key: opens every host; for clients.
                storage: a folder that all places see at the same path.
                kept: what a place sees of this machine below /tmp and the home.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dermtune-hosts-"))
        self.key, self.storage, self.names = self.folder / "key", self.folder / "storage", self.folder / "hosts"
        self.storage.mkdir()
        self.kept = _kept([self.storage])
        self._places: list[Place] = []
        self._switch: subprocess.Popen[str] | None = None

    def open(self) -> None:
        """Lays the bridge."""
        _make_key(self.key)
        self.names.write_text("127.0.0.1 localhost\n")
        lay = "ip link add bridge type bridge && ip link set bridge up && echo ready && exec sleep infinity"
        command = [*_DIES_WITH_US, "unshare", "--net", "bash", "-c", lay]
        self._switch = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, start_new_session=True)
        assert self._switch.stdout is not None
        with self._switch.stdout as said:
            if said.readline() != "ready\n":
                raise OSError("the bridge must come up; got no `ip link add type bridge` (is this kernel without it?)")

    def add(self, *kinds: tuple[type[Place], str]) -> list[Place]:
        """Makes and starts places; they know each other's names, and those of all made before.

        Args:    kinds: `Host` or `Place`, and a name, each.
        """
        first = len(self._places) + 2
        made = [kind(self, name, first + index) for index, (kind, name) in enumerate(kinds)]
        self._places += made
        with self.names.open("a") as names:
            names.writelines(f"{place.ip} {place.name}\n" for place in made)
        for place in made:
            place.start()
        return made

    def attach(self, name: str, number: int, process: int) -> None:
        """Gives the network namespace of a process an interface on the bridge, always the same for a number."""
        mac, ip = f"02:00:0a:4d:00:{number:02x}", f"{_NETWORK}.{number}/24"
        end = ["peer", "name", "eth0", "netns", str(process), "address", mac]
        self.switch("ip", "link", "add", name, "type", "veth", *end)
        self.switch("ip", "link", "set", name, "master", "bridge", "up")
        inside = ["nsenter", f"--target={process}", "--net", "ip"]
        for change in (["address", "add", ip, "dev", "eth0"], ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"]):
            _must([*inside, *change])

    def detach(self, name: str) -> None:
        """Takes an interface away, if it is there."""
        with suppress(OSError):
            self.switch("ip", "link", "delete", name)

    def switch(self, *command: str) -> None:
        """Runs a command beside the bridge."""
        if self._switch is None:
            raise OSError("the network must be open; got a closed one")
        _must(["nsenter", f"--target={self._switch.pid}", "--net", *command])

    def close(self) -> None:
        """Takes everything down; twice does no harm."""
        for place in self._places:
            place.kill()
        if self._switch is not None:
            self._switch.kill()
            self._switch.wait(10)
            self._switch = None
        shutil.rmtree(self.folder, ignore_errors=True)


def _make_key(file: Path) -> None:
    _must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "dermtune test", "-f", str(file)])


def _kept(more: Sequence[Path]) -> list[Path]:
    """Folders that must be seen from every place: those of them that a place's own /tmp or home would hide."""
    interpreter = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parents[1], *map(Path, sys.path)]
    wanted = {path.absolute() for path in [REPOSITORY, REPOSITORY.parent / "shared", *interpreter, *more]}
    hidden = sorted(path for path in wanted if any(parent in path.parents for parent in (Path("/tmp"), HOME)))
    there = [path for path in hidden if path.is_dir()]
    return [path for path in there if not any(other in path.parents for other in there)]


@contextmanager
def network() -> Iterator[Network]:
    """A network without places; all that was added to it is taken down at the end, and when this process is told to end.

    SIGTERM interrupts the test that is running, as Ctrl-C does: pytest then takes its fixtures down.
    """
    made = Network()
    atexit.register(made.close)
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _interrupt) if in_main else None
    try:
        made.open()
        yield made
    finally:
        made.close()
        atexit.unregister(made.close)
        if in_main:
            signal.signal(signal.SIGTERM, before)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
