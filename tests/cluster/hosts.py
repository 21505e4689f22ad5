"""Hosts on one machine: each a place with an address, processes, a /tmp and a home of its own, on one private bridge."""

import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil
from bridge import DIES_WITH_US, NETWORK, SYSTEM_PATH, Bridge, must, program
from waiting import happens

_ACCOUNT = pwd.getpwuid(os.geteuid())
USER = _ACCOUNT.pw_name
#: Where ssh lets one in, whatever HOME says here.
HOME = Path(_ACCOUNT.pw_dir)

_SCRIPT = Path(__file__).with_name("place.sh")
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


@dataclass(frozen=True)
class Ground:
    """What all places of a network have in common.

    Attributes: bridge: that they hang on.
                folder: for what they keep.
                key: private key that opens every host; its public half lies beside it.
                names: file with their names, for /etc/hosts.
                kept: folders below /tmp and the home that a place sees as this process does.
    """

    bridge: Bridge
    folder: Path
    key: Path
    names: Path
    kept: tuple[Path, ...]


def make_key(file: Path) -> None:
    """A key pair for this occasion."""
    must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "dermtune test", "-f", str(file)])


class Place:
    """Somewhere on the network where commands run: with an address and a home, without an sshd.

    It dies with the thread that started it.

    Args:    ground: that it stands on.
             name: its hostname; 15 characters at most.
             number: last part of its address.
    """

    def __init__(self, ground: Ground, name: str, number: int) -> None:
        self._ground, self.name, self._number = ground, name, number
        self.ip = f"{NETWORK}.{number}"
        self._folder = ground.folder / name
        #: What the place sees as `HOME`, from here: it outlives a `kill`.
        self.home = self._folder / "home"
        self.home.mkdir(parents=True)
        self._unshare: subprocess.Popen[str] | None = None
        self._init: psutil.Process | None = None
        self._begun: list[subprocess.Popen[str]] = []

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not been killed."""
        return self._init is not None

    def start(self) -> None:
        """Starts it; again after a `kill`, with the same address and home and an empty /tmp."""
        shutil.copy(self._ground.names, self._folder / "hosts")
        spaces = ("--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
        script = ["bash", str(_SCRIPT), self.name, str(self._folder), str(HOME), *map(str, self._ground.kept), "--"]
        with (self._folder / "place.log").open("ab") as log:
            self._unshare = subprocess.Popen(
                [*DIES_WITH_US, "unshare", *spaces, *script, *self._first_command()],
                env=self._environment({}),
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
                raise OSError(f"{self.name} must start; got {self._log()}")
            (self._init,) = psutil.Process(self._unshare.pid).children()
            self._ground.bridge.attach(self.name, self._number, self._init.pid)
            to.write("go\n")
        self._wait_until_it_answers()

    def kill(self) -> None:
        """Ends everything in it at once, as if its power failed: the others only hear nothing more. It may be dead already."""
        unshare, self._unshare, self._init = self._unshare, None, None
        if unshare is None:
            return
        self._ground.bridge.detach(self.name)
        with suppress(psutil.NoSuchProcess):
            own = psutil.Process(unshare.pid)
            for process in own.children() or [own]:
                process.kill()
        unshare.wait(30)  # the kernel lets the first process of a PID namespace go last
        for begun in self._begun:
            begun.wait(30)
            for said in (begun.stdout, begun.stderr):
                if said is not None:
                    said.close()
        self._begun.clear()

    def cut(self) -> None:
        """Pulls its cable."""
        self._ground.bridge.set_up(self.name, False)

    def mend(self) -> None:
        """Puts its cable back."""
        self._ground.bridge.set_up(self.name, True)

    def run(
        self,
        command: str | Sequence[str],
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60,
        cwd: str | Path = HOME,
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a command in it to its end; one that takes too long is killed.

        Args:    command: words, or a line for bash, which then knows ~/.dermtune.env as a login does.
                 env: added to its environment, which has nothing of this process's.
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
        finally:
            self._begun.remove(process)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def popen(
        self,
        command: str | Sequence[str],
        env: Mapping[str, str] | None = None,
        cwd: str | Path = HOME,
        stdout: int | IO[Any] | None = subprocess.DEVNULL,
        stderr: int | IO[Any] | None = subprocess.DEVNULL,
    ) -> "subprocess.Popen[str]":
        """Starts a command in it, in a process group of its own; it ends with the place at the latest. See `run`."""
        words = ["bash", "-c", command] if isinstance(command, str) else list(command)
        process = subprocess.Popen(
            [*self._inside(), "env", f"--chdir={cwd}", *words],
            env=self._environment(env or {}),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        self._begun.append(process)
        return process

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

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), SYSTEM_PATH])
        account = {"HOME": str(HOME), "USER": USER, "LOGNAME": USER, "SHELL": "/bin/bash"}
        # Bash reads this file first, if it is there.
        return {**account, "PATH": path, "LANG": "C.UTF-8", "TERM": "dumb", "BASH_ENV": f"{HOME}/.dermtune.env", **more}

    def _inside(self) -> list[str]:
        if self._init is None:
            raise OSError(f"{self.name} must be running; got a place that is not (start)")
        spaces = ("--mount", "--uts", "--ipc", "--net", "--pid")
        return [*DIES_WITH_US, "nsenter", f"--target={self._init.pid}", *spaces]

    def _first_command(self) -> list[str]:
        return ["sleep", "infinity"]

    def _wait_until_it_answers(self) -> None:
        pass

    def _log(self) -> str:
        return (self._folder / "place.log").read_text()[-2000:]


class Host(Place):
    """A place that lets the network's key in by ssh."""

    def __init__(self, ground: Ground, name: str, number: int) -> None:
        super().__init__(ground, name, number)
        own = self.home / ".sshd"
        own.mkdir()
        make_key(own / "host_key")
        shutil.copy(ground.key.with_suffix(".pub"), own / "authorized_keys")
        (own / "config").write_text(_SSHD.format(ip=self.ip, home=HOME))

    def _first_command(self) -> list[str]:
        # By its whole path: it starts itself anew for each connection.
        return [str(program("sshd")), "-D", "-e", "-f", str(HOME / ".sshd" / "config")]

    def _wait_until_it_answers(self) -> None:
        if not happens(lambda: self.run(f"exec 3<> /dev/tcp/{self.ip}/22").returncode == 0):
            raise OSError(f"sshd on {self.name} must answer; got {self._log()}")


def _pid_space(process: int) -> str:
    return str(Path(f"/proc/{process}/ns/pid").readlink())
