"""A search's specification as a YAML file: written by `--save-spec`, or by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from search.errors import PlanError
from search.records.spec import SearchSpec

_HEAD = """\
# What `dermtune search` was asked for; what is not here is as it has it by default (dermtune search --help).
# Again, or with changes: dermtune search --spec THIS_FILE [--trials 80 ...]
"""


def write_spec(spec: SearchSpec, file: Path) -> None:
    """Writes what is not left at its default; folders above the file are made.

    Args:    spec: what was asked for.
             file: is replaced.
    """
    # No name: a search of that name is there once this one has run.
    asked = {name: _plain(value) for name, value in spec.given().items() if name != "name"}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(_HEAD + yaml.safe_dump(asked, sort_keys=False, allow_unicode=True, width=1000))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def read_spec(file: Path) -> SearchSpec:
    """What a file asks for.

    Values are read as the command line reads them: `off`, `1e-4` and `0.3..0.9` need no quotes.

    Args:    file: keys are the arguments of `search.run`.
    Raises:  PlanError: when the file cannot be read, is no YAML, or asks for what there is not.
    """
    try:
        document = yaml.load(file.read_text(), Loader=yaml.BaseLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PlanError(f"--spec must be a YAML file; got {file}: {' '.join(str(error).split())}") from error
    if not isinstance(document, Mapping):
        raise PlanError(f"--spec must be a YAML file of `name: value` lines; got {file}")
    try:
        return SearchSpec.of({name: value for name, value in document.items() if value not in ("", "null", "~")})
    except PlanError as error:
        raise PlanError(f"{error} (in {file})") from error
