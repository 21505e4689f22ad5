"""Every must-show of the issues, run for real; writes docs/acceptance.md (command, figure, date, machine).

Run by `make acceptance`, outside continuous integration: it takes about five hours on two cores.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import attentive
import clustered
import explained
import fast
import faulty
import fused
import gated
import psutil
import tracked
import trusted
from shown import REPOSITORY, Shown

ISSUES = {
    1: gated.SHOWS,
    2: attentive.SHOWS,
    3: trusted.SHOWS,
    4: tracked.SHOWS,
    5: clustered.SHOWS,
    6: fast.SHOWS,
    7: faulty.SHOWS,
    8: explained.SHOWS,
    9: fused.SHOWS,
}
SHOWS = {name: show for shows in ISSUES.values() for name, show in shows.items()}


def gpus() -> str:
    """The GPUs of this machine, in words."""
    import torch

    return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())) or "no GPU"


def attempt(name: str, folder: Path) -> list[Shown]:
    """A must-show; one that breaks is not met, and the others still run."""
    try:
        return SHOWS[name](folder)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        issue = next(number for number, shows in ISSUES.items() if name in shows)
        return [Shown(issue, f"{name} broke", "make acceptance", " ".join(str(error).split())[:300], False)]


def write_page(shown: list[Shown]) -> None:
    """Puts these rows into docs/acceptance.md; rows of what was not run now stay as they were."""
    page = REPOSITORY / "docs" / "acceptance.md"
    rows: dict[str, str] = {}
    for line in page.read_text().splitlines() if page.is_file() else []:
        if re.match(r"\| \d", line):
            rows[" | ".join(line.removeprefix("| ").split(" | ")[:2])] = line
    memory = psutil.virtual_memory().total / 2**30
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, {gpus()}, Python {platform.python_version()}"
    for s in shown:
        met = "yes" if s.met else "**no**"
        rows[f"{s.issue} | {s.what}"] = (
            f"| {s.issue} | {s.what} | `{s.command}` | {s.figure} | {met} | {datetime.now(UTC):%Y-%m-%d} | {machine} |"
        )
    head = [
        "# Acceptance",
        "",
        "What the issues must show, as `make acceptance` found it. Written by `tests/acceptance/run.py`; do not edit.",
        "",
        "| issue | what | command | figure | met | date | machine |",
        "|---|---|---|---|---|---|---|",
    ]
    page.write_text("\n".join([*head, *rows.values(), ""]))


def main() -> int:
    """Runs the must-shows, each into the page as soon as it is known; 1 when one is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=SHOWS, nargs="*", help="run only these")
    shown: list[Shown] = []
    for name in parser.parse_args().only or SHOWS:
        folder = Path(tempfile.mkdtemp(prefix="dermtune acceptance "))
        try:
            found = attempt(name, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        for one in found:
            print(f"{'met    ' if one.met else 'NOT MET'} {one.what}: {one.figure}", flush=True)
        write_page(found)
        shown += found
    return 0 if all(one.met for one in shown) else 1


if __name__ == "__main__":
    sys.exit(main())
