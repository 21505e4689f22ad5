"""`--help` on a terminal of 80 columns."""

from collections.abc import Iterator

import click
import pytest

from search.cli.commands import cli
from search.cli.main import run


def contexts(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[click.Context]:
    """A command and all below it, on 80 columns."""
    context = click.Context(command, info_name=name, parent=parent, terminal_width=80)
    yield context
    if isinstance(command, click.Group):
        for below, found in command.commands.items():
            yield from contexts(found, below, context)


def test_no_line_of_any_commands_help_is_wider_than_a_terminal() -> None:
    wide = [
        (context.command_path, line)
        for context in contexts(cli, "dermtune")
        for line in context.get_help().splitlines()
        if len(line) > 80
    ]
    assert wide == []


def test_every_example_is_one_line_and_names_a_command_with_options_that_there_are() -> None:
    examples = [line for line in str(cli.epilog).splitlines() if line.startswith("  dermtune ")]
    assert len(examples) > 10
    shown = next(contexts(cli, "dermtune")).get_help().splitlines()
    for example in examples:
        assert f"  {example}" in shown
        words = example.split("  ")[1].split(" -- ")[0].split()[1:]
        known = {option for parameter in cli.commands[words[0]].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, example


@pytest.mark.parametrize("command", ["space", "search", "reproduce"])
def test_the_task_of_tests_is_named_nowhere_and_works(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "bowll"]) == 2
    assert capsys.readouterr().err == "dermtune: TASK must be one of gated, attentive; got 'bowll'\n"
    assert run([command, "--help"]) == 0
    assert "bowl" not in capsys.readouterr().out
    assert run(["space", "bowl"]) == 0
    assert "tilt" in capsys.readouterr().out
