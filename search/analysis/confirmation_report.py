"""A confirmation as a page for a paper's supplement."""

import json
from collections.abc import Mapping
from pathlib import Path

from search.analysis import figures
from search.analysis.confirmation import ERROR_WITH_LOOK
from search.analysis.means import MAX_BLOCKS, Mean
from search.analysis.page import picture, table, write_page
from search.analysis.uncertainty import MINIMUM_SEEDS
from search.analysis.verdict import Standing, Verdict, counted


def write_report(verdict: Verdict, folder: Path) -> Path:
    """Writes `confirmation.json`, `.md`, `.png` and `.html`; gives the page's path.

    Args:    verdict: to report.
             folder: of the confirmation.
    """
    (folder / "confirmation.json").write_text(json.dumps(verdict.to_json(), indent=1) + "\n")
    rows = [(s.trial, s.claimed, s.mean, s.interval) for s in verdict.standings if s.mean is not None]
    figure = figures.forest(rows, f"{verdict.metric} ({verdict.mode})")
    stem = folder / "confirmation"
    title = f"Confirmation of {verdict.search}"
    write_page(stem, title, _text(verdict), figures.svg(figure), figures.png(figure))
    return stem.with_suffix(".html")


def read_report(folder: Path) -> Verdict | None:
    """The finding of a confirmation that has been reported before, None where there is none."""
    file = folder / "confirmation.json"
    return Verdict.from_json(json.loads(file.read_text())) if file.is_file() else None


def _text(verdict: Verdict) -> str:
    folds = f" on each of {verdict.num_folds} stratified folds" if verdict.num_folds > 1 else ""
    parts = [
        f"**{verdict.sentence}**",
        f"The {len(verdict.standings)} best configurations of the search were trained again on"
        f" {counted(verdict.num_seeds, 'fresh seed')}{folds}, each to the epoch at which the search had found it best; nothing"
        f" was chosen again.{_dropping(verdict)}",
        picture("confirmation"),
        "## Configurations",
        table(
            ("trial", "epoch", "claimed", "confirmed [95 %]", "runs", "difference to the winner [95 %]", ""),
            [_row(standing) for standing in verdict.standings],
        ),
        f"Metric: {verdict.metric} ({'more' if verdict.mode == 'max' else 'less'} is better; a positive difference is better"
        f" than the winner). Data: {verdict.source or 'none'}. {_method(verdict)}",
        "## What the search had claimed",
        _curse(verdict),
    ]
    if verdict.winner_metrics:
        parts += ["## The winner's metrics on the validation cases", _metrics(verdict.winner_metrics)]
    parts.append("## The test split")
    if verdict.test_metrics:
        parts.append(_metrics(verdict.test_metrics))
    parts.append(verdict.test_note)
    if verdict.num_folds == 1 and verdict.source is not None:
        parts.append(
            "Every run was validated on the same cases, which also chose the configurations: fresh seeds leave those cases' own"
            " luck in. `--folds` repeats the comparison over stratified splits."
        )
    return "\n\n".join(parts)


def _dropping(verdict: Verdict) -> str:
    if not verdict.num_looks:
        return ""
    if not any(standing.out for standing in verdict.standings):
        return " Half-way, none was so far behind that it was dropped to save time."
    return (
        " Half-way, configurations that more seeds on these cases would hardly have brought to the front were dropped to save"
        " time. That is no finding: what is said of them follows from the intervals of the seeds that they ran on."
    )


def _method(verdict: Verdict) -> str:
    if verdict.num_seeds < MINIMUM_SEEDS:
        return (
            f"No intervals: how much the metric varies over seeds cannot be known from {counted(verdict.num_seeds, 'seed')}."
            " Three or more are needed."
        )
    together = "those of the differences hold together for any two configurations (Hothorn, Bretz, Westfall 2008)"
    over = (
        f"over cases (a jackknife; in {MAX_BLOCKS} blocks where there are more) and seeds, as in multi-reader multi-case studies"
        " with seeds for readers (Dorfman, Berbaum, Metz 1992; Hillis 2007)"
        if verdict.sampled == "cases and seeds"
        else "over seeds (Student's t), since this metric is not measured on cases"
    )
    looks = f", and pay for the look half-way ({100 * ERROR_WITH_LOOK:g} % of error instead of 5 %)" if verdict.num_looks else ""
    return (
        f"Intervals: 95 %, {over}. Those of the means hold together and stay within what the metric can be; {together}{looks}."
        " A configuration is worse than the winner where the whole interval of its difference lies below 0, and cannot be told"
        " from it where that contains 0."
    )


_FINDINGS = {
    "winner": "winner",
    "worse": "worse than the winner",
    "better": "better where it ran",
    "tied": "cannot be told from the winner",
    "not compared": "not compared",
}


def _row(standing: Standing) -> list[str]:
    return [
        standing.trial,
        str(standing.epoch),
        f"{standing.claimed:.4f}",
        _with_interval(standing.mean, standing.interval),
        str(len(standing.values)),
        _with_interval(standing.difference, standing.difference_interval, sign="+"),
        _FINDINGS[standing.finding] + (f"; {standing.out}" if standing.out else ""),
    ]


def _with_interval(value: float | None, interval: tuple[float, float] | None, sign: str = "") -> str:
    if value is None:
        return "–"
    return f"{value:{sign}.4f}{interval_text(interval)}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """An interval as it stands behind a value; nothing where there is none."""
    return "" if interval is None else f" [{interval[0]:.4f}, {interval[1]:.4f}]"


def _curse(verdict: Verdict) -> str:
    if verdict.curse is None:
        return f"The search's best, {verdict.claimed_best}, could not be trained again."
    claimed = next(s for s in verdict.standings if s.trial == verdict.claimed_best)
    mean = f"{claimed.mean:.4f}" if claimed.mean is not None else "–"
    way = "worse" if verdict.curse > 0 else "better"
    return (
        f"The search called {verdict.claimed_best} best, with {claimed.claimed:.4f}. On fresh seeds it has {mean}:"
        f" {abs(verdict.curse):.4f} {way}. The best of many noisy values is partly luck (the winner's curse), so report the"
        " confirmed value."
    )


def _metrics(found: Mapping[str, Mean]) -> str:
    edges = {name: "–" if known is None else f"{known[0]:.4f} to {known[1]:.4f}" for name, (_, known) in found.items()}
    return table(("metric", "mean", "95 % interval"), [(name, f"{mean:.4f}", edges[name]) for name, (mean, _) in found.items()])
