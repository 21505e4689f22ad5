"""Fuzzes the readers with atheris (coverage-guided), each for some minutes: `python tests/fuzz/run.py [TARGET ...] --minutes 10`.

It begins with `seeds/TARGET` and with what earlier runs have found worth keeping (`build/fuzz/TARGET`). An input that breaks a
reader is put into `seeds/TARGET`, where `test_seeds.py` tries it ever after. The last line counts.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
REPOSITORY = FOLDER.parents[1]
FOUND = REPOSITORY / "build" / "fuzz"
#: Whose branches guide it; the parsers below us are others' to fuzz.
_INSTRUMENTED = ["trainables", "spaces", "search"]
_LONGEST_BYTES = 8192
_SLOWEST_S = 20
_MEMORY_MIB = 4096


def fuzz(target: str, libfuzzer: list[str]) -> None:
    """Runs one target in this process until it is told to end; does not return."""
    import atheris

    sys.path[:0] = [str(REPOSITORY), str(FOLDER)]
    with atheris.instrument_imports(include=_INSTRUMENTED):
        import targets

    def one(data: bytes) -> None:
        targets.feed(target, data)

    atheris.Setup([sys.argv[0], *libfuzzer], one)
    atheris.Fuzz()


def run(target: str, minutes: float) -> tuple[int, bool]:
    """Fuzzes one target in a process of its own; gives how many inputs it tried and whether none of them broke it."""
    found, seeds = FOUND / target, FOLDER / "seeds" / target
    for folder in (found, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={round(60 * minutes)}",
        f"-max_len={_LONGEST_BYTES}",
        f"-timeout={_SLOWEST_S}",
        f"-rss_limit_mb={_MEMORY_MIB}",
        f"-artifact_prefix={seeds}/",
        "-print_final_stats=1",
    ]
    log = found.with_suffix(".log")
    with log.open("w") as file:
        command = [sys.executable, __file__, "--inside", target, *options, str(found), str(seeds)]
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    said = log.read_text(errors="replace")
    tried = re.search(r"number_of_executed_units: (\d+)", said)
    number = int(tried[1]) if tried else 0
    if status != 0:
        print("\n".join(said.splitlines()[-40:]))
    print(f"{target}: {number} inputs in {minutes:g} min, {'none' if status == 0 else 'ONE'} broke it", flush=True)
    return number, status == 0


def main() -> int:
    """Runs all targets that are asked for; 1 when one of them broke."""
    if sys.argv[1:2] == ["--inside"]:
        fuzz(sys.argv[2], sys.argv[3:])
    known = sorted(folder.name for folder in (FOLDER / "seeds").iterdir())
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", choices=[[], *known], metavar="TARGET", help=", ".join(known))
    parser.add_argument("--minutes", type=float, default=10.0, help="for each target (default 10)")
    asked = parser.parse_args()
    results = [run(target, asked.minutes) for target in asked.targets or known]
    broken = sum(not held for _, held in results)
    print(f"{sum(tried for tried, _ in results)} inputs, {len(results)} readers, {broken} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
