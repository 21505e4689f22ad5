"""Names the quick tests of what has changed since main, for `make quick`.

A test is one of them when it has changed, or imports, itself or through a module that only tests have, a module that has
changed or one that imports it. Whatever lies farther away is for `make test`. Prints `tests`, all of them, when something has
changed that none imports.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import grimp

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("models", "spaces", "trainables", "search")
#: What changes no test's outcome.
NO_CODE = (".md", ".svg", ".png")


def git(*arguments: str) -> str:
    """What git says, "" when it refuses."""
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def changed_files() -> list[str]:
    """Files that differ from where this branch left main; on main itself, from the last commit."""
    base = git("merge-base", "HEAD", "origin/main") or git("merge-base", "HEAD", "main") or "HEAD"
    changed = git("diff", "--name-only", base).splitlines() + git("ls-files", "--others", "--exclude-standard").splitlines()
    return sorted(file for file in set(changed) if not file.endswith(NO_CODE))


def module_of(file: str) -> str:
    """The module that a file of a package is."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imported(file: Path) -> Iterator[str]:
    """Modules, and what may be modules, that a file imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def imports_of_tests() -> dict[Path, set[str]]:
    """Test file → what it imports, itself or through files beside it that are no tests."""
    files = {file: set(imported(file)) for file in (REPOSITORY / "tests").rglob("*.py")}
    beside = {file.stem: names for file, names in files.items() if not file.name.startswith("test_")}
    found = {}
    for file, names in files.items():
        if file.name.startswith("test_"):
            reached = set(names)
            while more := {name for known in reached & beside.keys() for name in beside[known]} - reached:
                reached |= more
            found[file] = reached
    return found


def tests_of(changed: Iterable[str]) -> list[str]:
    """Test files of what has changed, by path."""
    graph = grimp.build_graph(*PACKAGES)
    modules, tests = set[str](), set[str]()
    for file in changed:
        package = file.partition("/")[0]
        if package in PACKAGES and file.endswith(".py"):
            module = module_of(file)
            modules |= {module, *(graph.find_modules_that_directly_import(module) if module in graph.modules else ())}
        elif Path(file).name.startswith("test_") and (REPOSITORY / file).is_file():
            tests.add(file)
        elif package != "tests" or not file.endswith(".py"):
            return ["tests"]
        else:
            modules.add(Path(file).stem)
    return sorted(tests | {str(file.relative_to(REPOSITORY)) for file, names in imports_of_tests().items() if names & modules})


def main() -> int:
    """Prints them."""
    sys.stdout.write("\n".join(tests_of(changed_files())) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
