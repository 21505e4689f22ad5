"""Puts small faults into the code that decides, and counts those that the quick suite notices: `make mutants`.

mutmut (https://mutmut.readthedocs.io) makes the faults and runs, for each of them, the tests that reach the changed function.
`[tool.mutmut]` in pyproject.toml says which modules and tests. Two of mutmut's kinds of fault are left out: changed texts, which
are for people, and dropped arguments, most of which raise at once. One is added: a call whose result nobody uses is not made.

    python tests/mutation/run.py                                 all modules (an hour on two cores), into docs/testing.md
    python tests/mutation/run.py 'search.strategy.optuna_controller*'       some of them
    python tests/mutation/run.py --survivors 'search/strategy/optuna_controller.py'   what nobody has noticed, as a diff
"""

import argparse
import fnmatch
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import libcst
from mutmut.__main__ import cli
from mutmut.mutation import mutators
from mutmut.stats import status_by_exit_code

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "testing.md"
LEFT_OUT = ("operator_string", "operator_arg_removal")
#: mutmut's verdicts that mean that a test has noticed; a fault that changes the import of a module or hangs is noticed as well.
NOTICED = ("killed", "timeout", "segfault")
NOT_RUN = ("not checked", "skipped")
BEGIN, END = "<!-- scores: make mutants -->", "<!-- end of scores -->"
#: What the page says of a module when it was run for the first time, before tests were added for what survived.
BASELINE = Path(__file__).parent / "baseline.json"


def call_not_made(node: libcst.Expr) -> Iterator[libcst.Expr]:
    """Replaces a statement that only calls something by nothing."""
    if isinstance(node.value, libcst.Call):
        yield node.with_changes(value=libcst.Name("None"))


def choose_operators() -> None:
    """Leaves two of mutmut's operators out and adds one of ours."""
    kept = [entry for entry in mutators.mutation_operators if entry[1].__name__ not in LEFT_OUT]
    mutators.mutation_operators[:] = [*kept, (libcst.Expr, call_not_made)]  # type: ignore[index]


def faults() -> dict[str, dict[str, str]]:
    """Module → fault → mutmut's verdict, of all that lies in `mutants/`."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted((REPOSITORY / "mutants").rglob("*.py.meta")):
        codes = json.loads(file.read_text())["exit_code_by_key"]
        verdicts = {name: status_by_exit_code[code] for name, code in codes.items()}
        if any(verdict not in NOT_RUN for verdict in verdicts.values()):
            found[str(file.relative_to(REPOSITORY / "mutants")).removesuffix(".meta")] = verdicts
    return found


def scores() -> dict[str, tuple[int, int]]:
    """Module → faults that a test has noticed, all faults; one that was not run, in a run that was cut short, is not noticed."""
    found = {}
    for module, verdicts in faults().items():
        counts = Counter(verdicts.values())
        found[module] = (sum(counts[verdict] for verdict in NOTICED), counts.total())
    return found


def table(found: dict[str, tuple[int, int]]) -> list[str]:
    """The scores as a table of Markdown, with those of the first run beside them."""
    before = json.loads(BASELINE.read_text()) if BASELINE.is_file() else {}
    lines = ["| module | faults | noticed | before |", "|---|---|---|---|"]
    for module, (noticed, tried) in [*found.items(), ("all", tuple(map(sum, zip(*found.values(), strict=True))))]:
        first = before.get(module)
        share = f"{100 * first[0] / first[1]:.0f} %" if first else ""
        lines.append(f"| `{module}` | {tried} | {100 * noticed / tried:.0f} % | {share} |")
    return lines


def write_page(found: dict[str, tuple[int, int]]) -> None:
    """Puts the scores between their marks in docs/testing.md."""
    text = PAGE.read_text()
    body = "\n".join([BEGIN, f"Run on {datetime.now(UTC):%Y-%m-%d}.", "", *table(found), END])
    PAGE.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: body, text, flags=re.DOTALL))


def show_survivors(pattern: str) -> None:
    """Prints each fault in modules like these that no test has noticed, as a diff."""
    for module, verdicts in faults().items():
        if fnmatch.fnmatch(module, pattern):
            for name, verdict in verdicts.items():
                if verdict not in (*NOTICED, *NOT_RUN):
                    print(f"== {name}: {verdict}", flush=True)
                    cli(["show", name], standalone_mode=False)


def main() -> int:
    """Runs what was asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="faults like these only, search.strategy.optuna_controller* for instance")
    parser.add_argument("--survivors", metavar="FILES", help="show what was not noticed instead of running anything")
    parser.add_argument("--page", action="store_true", help="write the scores into docs/testing.md")
    asked = parser.parse_args()
    os.chdir(REPOSITORY)
    choose_operators()
    if asked.survivors:
        show_survivors(asked.survivors)
        return 0
    cli(["run", "--max-children", str(os.cpu_count() or 1), *asked.names], standalone_mode=False)
    found = scores()
    if asked.page:
        write_page(found)
    print("\n" + "\n".join(table(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
