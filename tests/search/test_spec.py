"""One specification of a search: from values, from the command line, from YAML and from a plan, always the same."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from search.cli.options import given_options, parse_settings
from search.cli.searching import search as search_command
from search.cli.spec_options import spec_options
from search.errors import PlanError
from search.execution.planning import prepare_search
from search.execution.replanning import spec_of, specified
from search.records.spec import FIELDS, SearchSpec, seconds_of
from search.records.spec_file import read_spec, write_spec

#: A value of every field that is not its default.
OTHER: dict[str, Any] = {
    "task": "bowl",
    "data": "table:my lesions.csv",
    "preset": "paper",
    "name": "mine",
    "num_trials": 7,
    "max_epochs": 30,
    "time_budget_s": 5400.0,
    "epoch_budget": 90,
    "gpu_hours": 0.5,
    "terminate": True,
    "metric": ("valid/height:min", "valid/depth"),
    "constraints": ("valid/cost<=3",),
    "sampler": "random",
    "scheduler": "none",
    "grace_period": 2,
    "reduction": 4,
    "settings": {"y": "0.5", "shape": "round", "gates": "off"},
    "space": {"x": "-0.5..0.5"},
    "warm_start": ("first", "second"),
    "cpus_per_trial": 2.5,
    "gpus_per_trial": "0.25",
    "max_concurrent": 3,
    "fuse_trials": "auto",
    "keep_checkpoints": 3,
    "save_every_s": 0.5,
    "seed": 11,
}


def by_flags(asked: dict[str, Any]) -> SearchSpec:
    """What the command line makes of flags."""
    found: list[SearchSpec] = []

    @click.command()
    @spec_options(*(name for name in FIELDS if name != "task"))
    @click.pass_context
    def command(context: click.Context, /, **options: Any) -> None:
        pairs = {name: parse_settings(options[name], name) for name in ("settings", "space")}
        found.append(SearchSpec.of({"task": asked["task"], **given_options(context, options), **pairs}))

    words: list[str] = []
    for name, value in asked.items():
        flag, kind = str(FIELDS[name].flag), FIELDS[name].kind
        if kind == "flag":
            words.append(flag)
        elif kind in ("texts", "pairs"):
            texts = [f"{key}={text}" for key, text in value.items()] if kind == "pairs" else value
            words += [word for text in texts for word in (flag, text)]
        elif name != "task":
            words += [flag, f"{value:g}s" if kind == "seconds" else str(value)]
    result = CliRunner().invoke(command, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return found[0]


def test_every_field_is_in_the_example_and_is_not_its_default() -> None:
    assert OTHER.keys() == {each.name for each in fields(SearchSpec)}
    assert SearchSpec.of(OTHER).given() == OTHER


def test_flags_values_and_yaml_say_the_same(tmp_path: Path) -> None:
    spec = SearchSpec.of(OTHER)
    assert by_flags(OTHER) == spec
    file = tmp_path / "my specs" / "search.yaml"
    write_spec(spec, file)
    written = read_spec(file)
    # A name is of one search, so it is not written.
    assert written == SearchSpec.of({name: value for name, value in OTHER.items() if name != "name"})
    assert by_flags({"task": "bowl"}) == SearchSpec("bowl") == SearchSpec.of({"task": "bowl"})


def test_yaml_is_read_as_the_command_line_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "by hand.yaml"
    file.write_text(
        "task: gated\nsettings:\n  gates: off\n  learning_rate: 1e-4\nspace: {dropout: 0.1..0.5}\nmetric: valid/auroc_mean\n"
        "time_budget_s: 2h\nterminate: true\nseed: 007\nname:\n"
    )
    assert read_spec(file) == SearchSpec(
        "gated",
        settings={"gates": "off", "learning_rate": "1e-4"},
        space={"dropout": "0.1..0.5"},
        metric=("valid/auroc_mean",),
        time_budget_s=7200.0,
        terminate=True,
        seed=7,
    )


def test_values_of_python_are_texts_where_the_command_line_has_texts() -> None:
    asked = {
        "task": "bowl",
        "settings": {"y": 0.5, "on": True},
        "metric": "valid/height",
        "gpus_per_trial": 0.5,
        "fuse_trials": 2,
    }
    spec = SearchSpec.of(asked)
    assert dict(spec.settings) == {"y": "0.5", "on": "true"}
    assert (spec.metric, spec.gpus_per_trial, spec.fuse_trials) == (("valid/height",), "0.5", "2")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "^TASK must be given: gated or attentive$"),
        (
            {"task": "bowl", "num_trial": 3},
            r"^a search must be asked for by .*; got 'num_trial' \(did you mean 'num_trials'\?\)$",
        ),
        ({"task": "bowl", "num_trials": 0}, "^num_trials must be 1 or more; got 0$"),
        ({"task": "bowl", "num_trials": 2.5}, "^num_trials must be a whole number; got 2.5$"),
        ({"task": "bowl", "num_trials": True}, "^num_trials must be a whole number; got True$"),
        ({"task": "bowl", "num_trials": "ten"}, "^num_trials must be a whole number; got 'ten'$"),
        ({"task": "bowl", "gpu_hours": 0}, "^gpu_hours must be above 0; got 0"),
        ({"task": "bowl", "gpu_hours": float("nan")}, "^gpu_hours must be above 0; got nan$"),
        ({"task": "bowl", "gpu_hours": float("inf")}, "^gpu_hours must be a finite number; got inf$"),
        ({"task": "bowl", "time_budget_s": "soon"}, "^time_budget_s must be seconds, or a number with s, m, h or d"),
        ({"task": "bowl", "save_every_s": "0s"}, "^save_every_s must be above 0; got 0"),
        ({"task": "bowl", "terminate": "perhaps"}, "^terminate must be true or false; got 'perhaps'$"),
        ({"task": "bowl", "settings": ["x=1"]}, r"^settings must be a value for each field; got \['x=1'\]$"),
        ({"task": "bowl", "metric": {"a": 1}}, "^metric must be a text or several; got "),
        ({"task": "bowl", "sampler": ["tpe"]}, r"^sampler must be a text; got \['tpe'\]$"),
    ],
)
def test_what_is_none_of_its_kind_or_range_is_refused_in_one_line(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        SearchSpec.of(asked)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: [unclosed", r"^--spec must be a YAML file; got .*by hand\.yaml: "),
        ("just words", "^--spec must be a YAML file of `name: value` lines; got "),
        ("", "^--spec must be a YAML file of `name: value` lines; got "),
        ("task: bowl\ntrials: 3\n", r"got 'trials' \(did you mean 'num_trials'\?\) \(in .*by hand\.yaml\)$"),
        ("task: bowl\nseed: -1\n", r"^seed must be 0 or more; got -1 \(in .*by hand\.yaml\)$"),
    ],
)
def test_a_file_that_asks_for_nonsense_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "by hand.yaml"
    file.write_text(text)
    with pytest.raises(PlanError, match=message):
        read_spec(file)
    with pytest.raises(PlanError, match=r"^--spec must be a YAML file; got "):
        read_spec(tmp_path / "missing.yaml")


def test_what_is_asked_beside_a_file_wins(tmp_path: Path) -> None:
    file = tmp_path / "search.yaml"
    write_spec(SearchSpec.of({"task": "bowl", "seed": 7, "settings": {"x": 0.5, "shape": "round"}, "space": {"y": "0..1"}}), file)
    changed = specified({"seed": 0, "settings": {"y": "0.25"}, "space": {"x": "0..0.5"}}, spec_file=file)
    assert changed == SearchSpec("bowl", seed=0, settings={"shape": "round", "y": "0.25"}, space={"x": "0..0.5"})
    with pytest.raises(PlanError, match=r"^TASK must be bowl, as in the file; got gated$"):
        specified({"task": "gated"}, spec_file=file)
    with pytest.raises(PlanError, match=r"^--spec and --plan must not be given together"):
        specified({}, spec_file=file, plan_file=tmp_path / "plan.json")


def test_a_plan_asks_for_what_made_it() -> None:
    asked = {
        "task": "bowl",
        "num_trials": 3,
        "max_epochs": 9,
        "settings": {"shape": "round"},
        "space": {"x": "-0.5..0.5"},
        "seed": 4,
    }
    plan = prepare_search(SearchSpec.of({**asked, "name": "mine", "terminate": True, "save_every_s": 5})).plan
    again = prepare_search(spec_of(plan)).plan
    same = {"name": "", "created": ""}
    assert {**plan.to_json(), **same} == {**again.to_json(), **same}


def test_a_file_with_a_task_needs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "search.yaml"
    asked = ["--set", "shape=round", "--trials", "3", "--dry-run"]
    saved = CliRunner().invoke(search_command, ["bowl", *asked, "--save-spec", str(file)], catch_exceptions=False)
    assert saved.exit_code == 0
    assert read_spec(file) == SearchSpec("bowl", settings={"shape": "round"}, num_trials=3)
    again = CliRunner().invoke(search_command, ["--spec", str(file), "--dry-run", "--json"], catch_exceptions=False)
    assert again.exit_code == 0
    assert '"trials_at_once"' in again.output


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("1.5m", 90.0), ("2h", 7200.0), ("1d", 86400.0)])
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds
