"""Runs the slow suite again and again beside two busy processes and stops at the first failure: `make stress N=10`.

Everything of a run that fails is kept in one folder, `build/stress`: what pytest said, the folders of its tests with their
searches, what Ray's processes wrote.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
KEPT = REPOSITORY / "build" / "stress"
SUITE = ("-m", "slow and not long", "--timeout", "600", "-n", "2", "--dist", "loadgroup", "--ignore", "tests/cluster")


@contextmanager
def busy(number: int) -> Iterator[None]:
    """So many processes that do nothing but keep processors from others."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run_once(number: int, arguments: list[str]) -> bool:
    """One run; what it leaves is kept when it fails."""
    # A short path: sockets below it must not be longer than a hundred letters.
    folder, begun = Path(tempfile.mkdtemp(prefix="dt")), time.monotonic()
    log = folder / "pytest.log"
    command = [sys.executable, "-m", "pytest", "-x", *SUITE, "--basetemp", str(folder / "tests"), *arguments]
    with log.open("w") as out:
        environment = {**os.environ, "RAY_TMPDIR": str(folder / "r")}
        status = subprocess.run(command, cwd=REPOSITORY, env=environment, stdout=out, stderr=out, check=False).returncode
    last = log.read_text().strip().splitlines()[-1].strip("= ")
    print(f"run {number}: {last} ({time.monotonic() - begun:.0f} s)", flush=True)
    if status != 0:
        shutil.rmtree(KEPT, ignore_errors=True)
        shutil.copytree(folder, KEPT, symlinks=True, ignore=lambda _, names: {n for n in names if n in ("sockets", "cache")})
        print(f"kept in {KEPT.relative_to(REPOSITORY)}")
    shutil.rmtree(folder, ignore_errors=True)
    return status == 0


def main() -> int:
    """Runs the suite; 1 at the first failure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=int)
    parser.add_argument("--busy", type=int, default=2, metavar="N", help="processes beside it [2]")
    asked, arguments = parser.parse_known_args()
    with busy(asked.busy):
        return 0 if all(run_once(number + 1, arguments) for number in range(asked.runs)) else 1


if __name__ == "__main__":
    sys.exit(main())
