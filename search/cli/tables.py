"""Results as people read them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from search.cli.layout import laid_out
from search.cli.options import number, out, span_text
from search.errors import PlanError
from spaces.fields import Value, fields_of, format_value
from spaces.hints import suggest
from trainables.evaluation import Evaluation
from trainables.tasks import TASKS


def show_rows(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout, laid out for its width."""
    out.print(laid_out(title, headings, rows, out.width))


def show_config(task: str, config: dict[str, Any], title: str = "Best configuration") -> None:
    """A configuration beside the paper's; a field that others leave without effect is not used, whatever the paper has there."""
    fields = fields_of(TASKS[task].space)
    searched = [name for name, field in fields.items() if field.searched]
    show_rows(
        title,
        ("field", "value", "paper's"),
        [(name, "not used" if config[name] is None else short(config[name]), short(fields[name].default)) for name in searched],
    )


def short(value: Value) -> str:
    """A value as a person reads it: four digits of a number; the exact one is in `--json`."""
    return f"{value:.4g}" if isinstance(value, float) else format_value(value)


def from_here(path: Path | None) -> str:
    """A path as one would type it: relative when it lies below the working directory."""
    if path is None:
        return "not kept"
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def show_evaluation(checkpoint: Path, found: Evaluation) -> None:
    """A checkpoint's metrics with their intervals, the tasks of which it calls every case the same, and what it confuses."""
    from search.analysis.constant_predictions import constant_in_evaluation  # what is behind it takes a second to import

    cells = [(name, number(value), _interval(found.intervals.get(name))) for name, value in found.metrics.items()]
    show_rows(f"{checkpoint}: {found.num_cases} cases of {found.split}", ("metric", "value", f"95 %, over {found.units}"), cells)
    if few := [f"{task} {number}" for task, number in found.labelled.items() if number < found.num_cases]:
        out.print(f"labels are missing: of {found.num_cases} cases those with a label count ({', '.join(few)})", markup=False)
    if unsure := [name for name in found.metrics if name not in found.intervals and not name.startswith("model/")]:
        out.print(
            f"no interval: nearly every resample of these cases gives the same value, so that they cannot say how sure it is"
            f" ({', '.join(unsure)})",
            markup=False,
        )
    for line in constant_in_evaluation(found.predictions):
        out.print(line, markup=False)
    for group, confusions in found.confusions.items():
        for key, matrix in confusions.matrices.items():
            rows = [(name, *map(str, row)) for name, row in zip(confusions.classes, matrix, strict=True)]
            kind = f"τ = {key}" if key.isdigit() else key
            show_rows(f"{in_words(group)}, {kind}: rows true, columns said", ("", *confusions.classes), rows)


def point_text(point: Mapping[str, Any]) -> str:
    """An operating point where it was chosen, in words."""
    return (
        f"operating point ({point['rule']}): {point['label']} from a probability of {point['threshold']:.3f} on; the"
        f" {point['num_cases']} cases of {point['split']} that chose it have sensitivity {number(point['sensitivity'], 3)} and"
        f" specificity {number(point['specificity'], 3)}, which flatters"
    )


def measured_point_text(point: Mapping[str, Any], split: str) -> str:
    """What an operating point does on other cases, in words."""
    told = " and ".join(f"{name} {with_interval(one['value'], one['interval'])}" for name, one in point["measured"].items())
    again = ", the cases that chose it: this flatters" if split == point["split"] else ""
    return (
        f"at the operating point of {point['split']} ({point['rule']}: {point['label']} from {point['threshold']:.3f} on):"
        f" {told or 'nothing, no label is known'}{again}"
    )


#: Of subgroups, the first that there are, if none are asked for.
_OF_SUBGROUPS = ("melanoma/auroc", "melanoma/sensitivity_at_95_specificity", "auroc_mean", "accuracy_mean")


def show_subgroups(found: Sequence[Any], metrics: Sequence[str]) -> None:
    """A table for each column: its subgroups with their cases and metrics, and what they differ in.

    Args:    found: see `search.analysis.subgroups.Subgroups`.
             metrics: full names; none for `_OF_SUBGROUPS`.
    Raises:  PlanError: when a metric is not among those of subgroups.
    """
    for each in found:
        unknown = [name for name in metrics if name not in each.metrics]
        if unknown:
            raise PlanError(f"--metric must be one of a split's metrics; got {unknown[0]!r}{suggest(unknown[0], each.metrics)}")
        names = metrics or [name for name in each.metrics if name.partition("/")[2] in _OF_SUBGROUPS]
        rows = [
            (
                group,
                str(number_of),
                *(with_interval(value.value, value.interval) for name in names for value in [each.metrics[name][group]]),
            )
            for group, number_of in each.num_cases.items()
        ]
        show_rows(f"by {each.column}", (each.column, "cases", *names), rows)
        for name in names:
            if (gap := each.gaps.get(name)) is None:
                continue
            p = "" if gap.p is None else f"; all alike: p = {gap.p:.4f}"
            out.print(f"{name}: {gap.highest} is {gap.value:.3f} above {gap.lowest}{p}", markup=False)
        if each.too_few:
            out.print(f"too few cases to say anything: {', '.join(each.too_few)}", markup=False)
    if found:
        out.print(
            "Intervals and p are each by themselves; of many that are looked at, one in twenty differs by luck.", markup=False
        )


def _interval(edges: Sequence[float] | None) -> str:
    return "–" if edges is None else f"{number(edges[0])} to {number(edges[1])}"


def in_words(name: str) -> str:
    """A key of a document as people write it."""
    return name.replace("_", " ")


def show_estimate(plan: Any, found: Any) -> None:
    """What a search would cost."""
    show_rows(
        f"{plan.num_trials} trials of up to {plan.max_epochs} epochs",
        ("what", "expected"),
        [
            ("one epoch", f"{found.epoch_s:.2f} s of the paper's configuration, one trial at a time"),
            ("trials at once", str(found.trials_at_once)),
            ("time", f"{estimate_text(found)}; the whole command, on a machine as busy as it is now"),
            ("disk", f"up to {max(1, round(found.disk_mib))} MiB at a time: models and states, then pictures and report, too"),
        ],
    )
    for note in plan.all_notes:
        out.print(note, markup=False)


def estimate_text(found: Any) -> str:
    """How long a search will most likely take, and how long at most."""
    most = 3600 * found.hours_at_most
    return f"{span_text(3600 * found.hours_low, 3600 * found.hours_high)}, or {span_text(most, most)} if no trial is stopped"


def show_preview(ahead: Any, span: Any) -> None:
    """What a confirmation would run.

    Args:    ahead: see `search.analysis.confirmation_preview.Preview`.
             span: how long it would take, None where that is not known.
    """
    document, plan = ahead.to_json(), ahead.plan
    show_rows(
        f"{plan.name}: {len(document['configurations'])} configurations of {document['search']}, ranked by the mean of"
        f" {plan.objective.metric} ({plan.objective.mode})",
        ("trial", "in the search", "epochs"),
        [(one["trial"], number(one["claimed"]), str(one["epochs"])) for one in document["configurations"]],
    )
    seeds, folds = document["seeds"], document["num_folds"]
    reading = document["test_reading"]
    lines = [
        ("seeds", f"{len(seeds)}, {seeds[0]} to {seeds[-1]}"),
        ("folds", str(folds) if folds > 1 else "none: the data's own split"),
        ("trials", str(plan.num_trials)),
        ("time", "not known" if span is None else f"{span_text(span.low_s, span.high_s)}, by the search's own epochs"),
        ("test split", "is not read" if reading is None else f"is read at the end: reading {reading} of {plan.source}"),
    ]
    show_rows("", ("what", "expected"), lines)
    for line in [*ahead.warnings, *plan.all_notes]:
        out.print(line, markup=False)


def show_confirmation(verdict: Any, page: Path) -> None:
    """Which configuration has the best mean on fresh seeds, by how much, and whether that is established."""
    from search.analysis.verdict import AS_IN_SEARCH, against_claim  # what is behind it takes a second to import

    folds = f" on each of {verdict.num_folds} folds" if verdict.num_folds > 1 else ""
    show_rows(
        f"{verdict.search}: mean {verdict.metric} ({verdict.mode}) on {verdict.num_seeds} fresh seeds{folds}",
        ("trial", "in the search", "mean [95 %]", f"to {verdict.winner or 'the best'} [95 %]", ""),
        [
            (
                s.trial,
                number(s.claimed, 3),
                with_interval(s.mean, s.interval),
                with_interval(s.difference, s.difference_interval),
                verdict.word(s) + (" (dropped)" if s.out and "dropped" in s.out else " (failed)" if s.out else ""),
            )
            for s in verdict.standings
        ],
    )
    if verdict.interval_note:
        out.print(verdict.interval_note, markup=False)
    out.print(f"\n{verdict.sentence}", markup=False)
    if verdict.earlier:
        out.print("Earlier confirmations of this search, which the intervals do not pay for; report all of them:", markup=False)
    for name, sentence in verdict.earlier.items():
        out.print(f"  {name}: {sentence}", markup=False)
    if verdict.curse is not None:
        found = against_claim(verdict.curse)
        than = found if found == AS_IN_SEARCH else f"{found} than in the search"
        out.print(f"The search's best configuration, {verdict.claimed_best}, did {than}.", markup=False)
    if verdict.test_note:
        out.print(verdict.test_note, markup=False)
    which = f" of the run {verdict.winner_run}, the median of {verdict.winner}" if verdict.checkpoint else ""
    out.print(f"Checkpoint{which}: {verdict.checkpoint or 'none'}\nReport: {page}", markup=False)


def with_interval(value: float | None, interval: Sequence[float] | None, sign: str = "") -> str:
    """`0.912 [0.893, 0.931]`.

    Args:    sign: "+" for a difference.
    """
    edges = "" if interval is None else " [{}, {}]".format(*(f"{edge:{sign}z.3f}" for edge in interval))
    return f"{'–' if value is None else f'{value:{sign}z.3f}'}{edges}"


def show_reproduction(document: Mapping[str, Any], page: Path) -> None:
    """Every experiment's main numbers with their intervals, the paper's below them, and the page."""
    measured = [row for row in document["experiments"] if row["metrics"]]
    paper = TASKS[document["task"]].paper
    headline = {} if paper is None else paper.headline
    shown = {name: text for name, text in headline.items() if any(name in row["metrics"] for row in measured)}
    rows = [(row["experiment"], *(_reproduced(row["metrics"].get(name)) for name in shown)) for row in measured]
    title = f"{document['name']}: {document['split']} split of {document['source']}, {document['num_seeds']} seeds"
    show_rows(title, ("experiment", *shown.values()), rows)
    if document["other_data"] is not None:
        out.print(f"These are not the paper's data: {document['other_data']}.", markup=False)
    out.print(f"{document['note']}\nPage: {from_here(page)}", markup=False)


def _reproduced(metric: Mapping[str, Any] | None) -> str:
    if metric is None:
        return "–"
    interval = "" if metric["interval"] is None else " [{:.2f}, {:.2f}]".format(*metric["interval"])
    paper = "" if metric["paper"] is None else f"\npaper {metric['paper']:.2f}"
    return f"{metric['mean']:.2f}{interval}{paper}"
