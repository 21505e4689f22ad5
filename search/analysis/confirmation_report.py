"""A confirmation as a page for a paper's supplement."""

import json
from collections.abc import Mapping
from pathlib import Path

from search.analysis import figures
from search.analysis.confirmation import Standing, Verdict
from search.analysis.means import RESAMPLES
from search.analysis.page import picture, table, write_page


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
        f"The {len(verdict.standings)} best configurations of the search were trained again on {verdict.num_seeds} fresh"
        f" seeds{folds}, each to the epoch at which the search had found it best; nothing was chosen again. A configuration"
        " that had become worse than the leader beyond what seeds explain ran on no further seed.",
        picture("confirmation"),
        "## Configurations",
        table(
            ("trial", "epoch", "claimed", "confirmed [95 %]", "runs", "difference to the winner [95 %]", ""),
            [_row(standing, verdict) for standing in verdict.standings],
        ),
        f"Metric: {verdict.metric} ({'more' if verdict.mode == 'max' else 'less'} is better; a positive difference is better"
        f" than the winner). Data: {verdict.source or 'none'}. Intervals: 95 %, bootstrap over {verdict.sampled}:"
        f" {RESAMPLES} resamples of the cases, the same for every configuration, and residuals of the seeds, pooled over the"
        " configurations, with the tails of Student's t. Differences are paired; their intervals hold together (Bonferroni)."
        " Tied: the interval of the difference holds 0.",
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


def _row(standing: Standing, verdict: Verdict) -> list[str]:
    note = "winner" if standing.trial == verdict.winner else standing.out and f"out: {standing.out}"
    return [
        standing.trial,
        str(standing.epoch),
        f"{standing.claimed:.4f}",
        _with_interval(standing.mean, standing.interval),
        str(len(standing.values)),
        _with_interval(standing.difference, standing.difference_interval, sign="+"),
        note or ("tied" if standing.trial in verdict.tied else "worse than the winner"),
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


def _metrics(found: Mapping[str, tuple[float, float, float]]) -> str:
    return table(
        ("metric", "mean", "95 % interval"),
        [(name, f"{mean:.4f}", f"{low:.4f} to {high:.4f}") for name, (mean, low, high) in found.items()],
    )
