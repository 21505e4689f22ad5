"""`dermtune replay`: a question to a search that has run."""

from pathlib import Path

import click

from search.cli.bars import bar
from search.cli.options import Context, command_options, duration_text, number, out
from search.cli.tables import show_rows


@click.command()
@click.argument("name")
@click.option("--sampler", "samplers", multiple=True, help="As in `search`; several are compared [default: the search's].")
@click.option("--scheduler", "schedulers", multiple=True, help="As in `search`; several are compared [default: the search's].")
@click.option("--grace-period", "grace_periods", type=click.IntRange(1), multiple=True, help="Several are compared.")
@click.option("--reduction", type=click.IntRange(2), help="One in so many passes a rung [default: the search's].")
@click.option("--seeds", type=click.IntRange(2), default=10, show_default=True, help="Runs of each strategy.")
@click.option("--workers", type=click.IntRange(1), help="Trials at once [default: as in the search].")
@click.option("--out", "picture", type=click.Path(path_type=Path), help="The plot [default: replay.png].")
@command_options
def replay(
    context: Context,
    name: str,
    samplers: tuple[str, ...],
    schedulers: tuple[str, ...],
    grace_periods: tuple[int, ...],
    reduction: int | None,
    seeds: int,
    workers: int | None,
    picture: Path | None,
) -> None:
    """Ask recorded curves what other strategies would have found, at what cost."""
    from search.analysis.leaderboard import open_search
    from search.analysis.replay import plot, replay, strategies_of

    found = open_search(context.storage, name)
    strategies = strategies_of(found.plan, samplers, schedulers, grace_periods, reduction)
    with bar("replaying") as progress:
        outcomes = replay(
            found,
            strategies,
            seeds=seeds,
            workers=workers,
            progress=progress,
        )
    place = plot(found, outcomes, picture or found.folder.path / "replay.png")
    document = {"name": name, "strategies": [outcome.to_json() for outcome in outcomes], "plot": str(place)}

    def show() -> None:
        cells = [
            (
                outcome.strategy.label,
                number(outcome.regret_quarter),
                f"{number(outcome.regret_half)} ± {number(outcome.half_interval[1] - outcome.regret_half)}",
                number(outcome.regret),
                f"{outcome.epochs:.0f}",
                f"{100 * outcome.known:.0f} %",
                duration_text(outcome.time_s),
            )
            for outcome in outcomes
        ]
        headings = ("strategy", "1/4", "1/2 (95 %)", "end", "epochs", "known", "time")
        title = (
            f"{name}: {found.plan.objective.metric}, mean regret to the best recorded after 1/4, 1/2 and all of the"
            f" simulated time, {seeds} runs each"
        )
        show_rows(title, headings, cells)
        if any(outcome.known < 1 for outcome in outcomes):
            out.print(
                "known: share of the epochs that the search has recorded. It had cut trials short; what they would have done"
                " then is taken to be what they did last, so a strategy that trains longer may gain more than is shown.",
                markup=False,
            )
        out.print(f"plot: {place}", markup=False)

    context.emit(document, show)


COMMANDS = (replay,)
