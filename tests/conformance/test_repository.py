"""What stands beside the code: commit hooks, the workflow and the citation say what the Makefile and pyproject.toml say."""

import re
import tomllib
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def _yaml(*parts: str) -> Any:
    return yaml.safe_load(ROOT.joinpath(*parts).read_text())


def test_hooks_and_make_check_run_the_same_tools() -> None:
    recipe = (ROOT / "Makefile").read_text().split("\ncheck:", 1)[1].split("\n\n", 1)[0]
    checked = re.findall(r"\$\(BIN\)/(\S+)", recipe)
    hooks = [hook["entry"].split()[0] for repository in _yaml(".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]
    assert {Path(entry).name for entry in hooks} == set(checked)
    assert all(entry.startswith(".venv/bin/") for entry in hooks), "the versions that make has installed"


def test_the_workflow_runs_the_quick_part_of_continuous_integration() -> None:
    steps = _yaml(".github", "workflows", "quick.yml")["jobs"]["quick"]["steps"]
    assert ".ci/run quick" in [step.get("run") for step in steps]
    script = (ROOT / ".ci" / "run").read_text()
    before, after = script.split('if [ -n "$quick" ]; then exit 0; fi')
    assert "make test" in before
    assert {"make cluster", "make slow"} <= set(after.splitlines())


def test_every_target_is_in_makes_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    described = re.findall(r"^([a-z]+):.* ## \S", makefile, re.MULTILINE)
    assert sorted(described) == sorted(phony.split())


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = _yaml("CITATION.cff")
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert [reference["year"] for reference in citation["references"]] == [2020, 2020]


def test_issue_forms_ask_for_what_is_needed() -> None:
    for form in ("fault.yml", "wish.yml"):
        found = _yaml(".github", "ISSUE_TEMPLATE", form)
        assert {"name", "description", "body"} <= set(found)
        assert any(part.get("validations", {}).get("required") for part in found["body"])
