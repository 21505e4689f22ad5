"""A confirmation as a page for a paper's supplement."""

import json
from collections.abc import Mapping
from pathlib import Path

from search.analysis import figures
from search.analysis.confirmation import ERROR_WITH_LOOK
from search.analysis.means import MAX_BLOCKS, Mean
from search.analysis.page import picture, table, write_page
from search.analysis.uncertainty import MINIMUM_SEEDS
from search.analysis.verdict import Standing, Verdict, against_claim, counted
from trainables.folders import write_file


def write_report(verdict: Verdict, folder: Path, trained: str = "") -> Path:
    """Writes `confirmation.json`, `.md`, `.png` and `.html`; gives the page's path.

    Args:    verdict: to report.
             folder: of the confirmation.
             trained: which configurations on what, as Markdown (`asked.confirmed_text`).
    """
    write_file(folder / "confirmation.json", (json.dumps(verdict.to_json(), indent=1) + "\n").encode())
    rows = [(s.trial, s.claimed, s.mean, s.interval) for s in verdict.standings if s.mean is not None]
    figure = figures.forest(rows, f"{verdict.metric} ({verdict.mode})")
    stem = folder / "confirmation"
    title = f"Confirmation of {verdict.search}"
    write_page(stem, title, "\n\n".join(filter(None, (_text(verdict), trained))), figures.svg(figure), figures.png(figure))
    return stem.with_suffix(".html")


def _text(verdict: Verdict) -> str:
    folds = f" on each of {verdict.num_folds} stratified folds" if verdict.num_folds > 1 else ""
    leader = verdict.winner or "the best mean"
    parts = [
        f"**{verdict.sentence}**",
        *_earlier(verdict),
        f"The {len(verdict.standings)} best configurations of the search were trained again on"
        f" {counted(verdict.num_seeds, 'fresh seed')}{folds}, each to the epoch at which the search had found it best; nothing"
        f" was chosen again.{_dropping(verdict)}",
        picture("confirmation"),
        "## Configurations",
        table(
            ("configuration", "epoch", "in the search", "mean [95 %]", "runs", f"difference to {leader} [95 %]", ""),
            [_row(verdict, standing) for standing in verdict.standings],
        ),
        *([verdict.interval_note] if verdict.interval_note else []),
        f"Metric: {verdict.metric} ({'more' if verdict.mode == 'max' else 'less'} is better; a positive difference is better"
        f" than {leader}). Data: {verdict.source or 'none'}. {_method(verdict)}",
        "## On fresh seeds and in the search",
        _curse(verdict),
    ]
    if verdict.winner_metrics:
        parts += [f"## Metrics of {leader} on the validation cases", _metrics(verdict.winner_metrics)]
    parts.append("## The test split")
    if verdict.test_metrics:
        parts += [f"Read by the checkpoints of {leader}:", _metrics(verdict.test_metrics)]
    parts.append(verdict.test_note)
    if verdict.num_folds == 1 and verdict.source is not None:
        parts.append(
            "Every run was validated on the same cases, which also chose the configurations: fresh seeds leave those cases' own"
            " luck in. `--folds` repeats the comparison over stratified splits."
        )
    return "\n\n".join(parts)


def _earlier(verdict: Verdict) -> list[str]:
    """What earlier confirmations of the same search had found: whoever reports one of several must report all of them."""
    if not verdict.earlier:
        return []
    many = f"{len(verdict.earlier)} earlier confirmations" if len(verdict.earlier) > 1 else "an earlier confirmation"
    said = "\n".join(f"- {name}: {sentence}" for name, sentence in verdict.earlier.items())
    return [
        f"The search has had {many}, on other seeds. The intervals here do not pay for that: report all of them, not the one that"
        f" suits best.\n\n{said}"
    ]


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
        f"over {verdict.units} (a jackknife; in {MAX_BLOCKS} blocks where there are more) and seeds, as in multi-reader"
        " multi-case studies with seeds for readers (Dorfman, Berbaum, Metz 1992; Hillis 2007)"
        if verdict.sampled == "cases and seeds"
        else "over seeds (Student's t), since this metric is not measured on cases"
    )
    looks = f", and pay for the look half-way ({100 * ERROR_WITH_LOOK:g} % of error instead of 5 %)" if verdict.num_looks else ""
    return (
        f"Intervals: 95 %, {over}. Those of the means hold together and stay within what the metric can be; {together}{looks}."
        " A configuration is worse than that of the best mean where the whole interval of its difference lies below 0, and cannot"
        " be told from it where that contains 0."
    )


#: Words of a finding that a page says with the name of the configuration that leads.
_FINDINGS = {"worse": "worse than {}", "better": "better where it ran", "tied": "cannot be told from {}"}


def _row(verdict: Verdict, standing: Standing) -> list[str]:
    return [
        standing.trial,
        str(standing.epoch),
        f"{standing.claimed:.4f}",
        _with_interval(standing.mean, standing.interval),
        str(len(standing.values)),
        _with_interval(standing.difference, standing.difference_interval, sign="+"),
        _FINDINGS.get(standing.finding, verdict.word(standing)).format(verdict.winner)
        + (f"; {standing.out}" if standing.out else ""),
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
    return (
        f"The search called {verdict.claimed_best} best, with {claimed.claimed:.4f}. On fresh seeds it has {mean}:"
        f" {against_claim(verdict.curse)}. The best of many noisy values is partly luck (the winner's curse), so report the"
        " confirmed value."
    )


def _metrics(found: Mapping[str, Mean]) -> str:
    edges = {name: "–" if known is None else f"{known[0]:.4f} to {known[1]:.4f}" for name, (_, known) in found.items()}
    return table(("metric", "mean", "95 % interval"), [(name, f"{mean:.4f}", edges[name]) for name, (mean, _) in found.items()])
