"""Is one model better than another on the same cases? Metrics with intervals, their differences, and what tests say of these."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from search.analysis.paired_tests import delong, holm, mcnemar
from trainables.bootstrap import interval_of
from trainables.counted import chunks, once_each, ratio, sums
from trainables.metrics import auroc, average_precision, sensitivity_at_specificity
from trainables.resampling import Resampling

_RESAMPLES = 2000
CALIBRATION_BINS = 10
#: Probabilities from which on one would treat, for the decision curve.
THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(1, 100))
#: A metric of one model: (scores, what is called positive) → values of resamples.
_Metric = Callable[[Float[np.ndarray, " cases"], Bool[np.ndarray, " cases"], Int[np.ndarray, "resamples cases"]], Any]


@dataclass(frozen=True)
class Scores:
    """What one model says of the cases.

    Args:    name: of the model.
             probabilities: of the class in question.
             said: whether it calls a case so.
    """

    name: str
    probabilities: Float[np.ndarray, " cases"]
    said: Bool[np.ndarray, " cases"]


@dataclass(frozen=True)
class Compared:
    """Models on the same cases.

    Args:    task, label: of which the probabilities are.
             positive: whether a case is of it.
             groups: code of each case's patient or lesion; None where every case is its own.
             models: two or more.
             units: what is resampled, in words.
    """

    task: str
    label: str
    positive: Bool[np.ndarray, " cases"]
    groups: Int[np.ndarray, " cases"] | None
    models: Sequence[Scores]
    units: str = "cases"


@dataclass(frozen=True)
class Value:
    """A metric of one model.

    Args:    value: over all cases.
             interval: 95 % by the bootstrap, None where nearly every resample gives the same.
    """

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Difference:
    """A metric of one model less another's.

    Args:    first, second: names of the models.
             value: over all cases.
             interval: 95 %, by Student's t and the standard error over paired resamples; None where these do not vary.
             p: two-sided, None where there is no test; of several pairs by Holm's method.
             test: by which.
    """

    first: str
    second: str
    value: float
    interval: tuple[float, float] | None
    p: float | None
    test: str


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    Args:    task, label: of which class.
             num_cases, num_positive: how many, and of that class.
             units: what the intervals go over.
             specificity: at which sensitivity is measured, each model at its own threshold on these cases.
             metrics: metric → model → value.
             differences: metric → pairs, first less second.
             reliability: model → (mean probability, share of the class, cases) of each bin that has a case.
             net_benefit: "all" and "none" treated, and model → at each of `THRESHOLDS`.
    """

    task: str
    label: str
    num_cases: int
    num_positive: int
    units: str
    specificity: float
    metrics: Mapping[str, Mapping[str, Value]]
    differences: Mapping[str, Sequence[Difference]]
    reliability: Mapping[str, Sequence[tuple[float, float, int]]]
    net_benefit: Mapping[str, Sequence[float]]

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {**asdict(self), "thresholds": list(THRESHOLDS)}


def compare(found: Compared, specificity: float, *, resamples: int = _RESAMPLES, seed: int = 0) -> Comparison:
    """Measures and tests.

    Args:    found: the models, on cases of both kinds.
             specificity: at which sensitivity is measured, above 0 and below 1.
             resamples: of the bootstrap.
             seed: of it.
    """
    metrics = _metrics(found.positive, specificity)
    counts, drawn = once_each(len(found.positive)), _drawn(found, metrics, resamples, seed)
    freedom = (len(found.positive) if found.groups is None else len(np.unique(found.groups))) - 1
    values: dict[str, dict[str, Value]] = {}
    differences: dict[str, list[Difference]] = {}
    for name, measure in metrics.items():
        of_all = {m.name: float(measure(m.probabilities, m.said, counts)[0]) for m in found.models}
        values[name] = {m.name: Value(of_all[m.name], interval_of(drawn[name][m.name])) for m in found.models}
        pairs = list(combinations(found.models, 2))
        resampled = [_Resampled.of(drawn[name][one.name] - drawn[name][other.name], freedom) for one, other in pairs]
        gaps = [of_all[one.name] - of_all[other.name] for one, other in pairs]
        tests = [_test(name, found, *pair, gap, own) for pair, gap, own in zip(pairs, gaps, resampled, strict=True)]
        adjusted = iter(holm([p for p, _ in tests if p is not None]))
        differences[name] = [
            Difference(first.name, second.name, gap, own.interval(gap), None if p is None else next(adjusted), test)
            for (first, second), gap, own, (p, test) in zip(pairs, gaps, resampled, tests, strict=True)
        ]
    return Comparison(
        task=found.task,
        label=found.label,
        num_cases=len(found.positive),
        num_positive=int(found.positive.sum()),
        units=found.units,
        specificity=specificity,
        metrics=values,
        differences=differences,
        reliability={m.name: reliability(found.positive, m.probabilities) for m in found.models},
        net_benefit=_net_benefits(found),
    )


def sensitivity_name(specificity: float) -> str:
    """`sensitivity at 95 % specificity`."""
    return f"sensitivity at {100 * specificity:g} % specificity"


def _metrics(positive: Bool[np.ndarray, " cases"], specificity: float) -> dict[str, _Metric]:
    return {
        "AUROC": lambda scores, said, counts: auroc(scores, positive, counts),
        "average precision": lambda scores, said, counts: average_precision(scores, positive, counts),
        sensitivity_name(specificity): lambda scores, said, counts: sensitivity_at_specificity(
            scores, positive, counts, specificity
        ),
        "accuracy": lambda scores, said, counts: ratio(counts @ (said == positive).astype(int), counts.sum(1)),
        "Brier score": lambda scores, said, counts: sums(counts, ((scores - positive) ** 2)[:, None])[:, 0] / counts.sum(1),
        "calibration error": partial(_calibration_error, positive),
    }


def _calibration_error(
    positive: Bool[np.ndarray, " cases"],
    scores: Float[np.ndarray, " cases"],
    said: Bool[np.ndarray, " cases"],
    counts: Int[np.ndarray, "resamples cases"],
) -> Float[np.ndarray, " resamples"]:
    """Of the class's own probability, over ten equal bins, weighted by their cases (the expected calibration error)."""
    gaps = sums(counts, ((scores - positive)[:, None] * (_bins(scores)[:, None] == np.arange(CALIBRATION_BINS))))
    return np.asarray(np.abs(gaps).sum(1) / counts.sum(1))


def _bins(scores: Float[np.ndarray, " cases"]) -> Int[np.ndarray, " cases"]:
    return np.asarray(np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1))


def _drawn(
    found: Compared, metrics: Mapping[str, _Metric], resamples: int, seed: int
) -> dict[str, dict[str, Float[np.ndarray, " resamples"]]]:
    """Every metric of every model in the same resamples, so that differences are paired."""
    generator, resampling = np.random.default_rng(seed), Resampling(len(found.positive), found.groups)
    parts: dict[str, dict[str, list[Any]]] = {name: {m.name: [] for m in found.models} for name in metrics}
    for chunk in chunks(resamples, len(found.positive)):
        counts = resampling.counts(generator, len(chunk))
        for name, measure in metrics.items():
            for model in found.models:
                parts[name][model.name].append(measure(model.probabilities, model.said, counts))
    return {name: {m: np.concatenate(values) for m, values in of_models.items()} for name, of_models in parts.items()}


@dataclass(frozen=True)
class _Resampled:
    """What the bootstrap says of a difference.

    Args:    deviation: its standard error; 0 where nearly every resample gives the same.
             freedom: with which that is known.
    """

    deviation: float
    freedom: int

    @staticmethod
    def of(differences: Float[np.ndarray, " resamples"], freedom: int) -> "_Resampled":
        """From a difference in every resample, NaN where it has no meaning."""
        known = differences[~np.isnan(differences)]
        deviation = float(known.std(ddof=1)) if len(known) > 1 else 0.0
        return _Resampled(deviation if deviation > 1e-12 else 0.0, freedom)

    def interval(self, difference: float) -> tuple[float, float] | None:
        """95 %, within -1 and 1."""
        if not self.deviation:
            return None
        reach = float(stats.t.ppf(0.975, self.freedom)) * self.deviation
        return max(-1.0, difference - reach), min(1.0, difference + reach)

    def p(self, difference: float) -> float | None:
        """Two-sided, of no difference."""
        if not self.deviation:
            return 1.0 if abs(difference) < 1e-12 else None
        return float(2 * stats.t.sf(abs(difference) / self.deviation, self.freedom))


def _test(
    name: str, found: Compared, first: Scores, second: Scores, difference: float, resampled: _Resampled
) -> tuple[float | None, str]:
    """A test's p, and its name.

    Sensitivity at a fixed specificity has no test of McNemar's: it takes thresholds for given that these cases have chosen, and
    with 300 of them would find a difference of equals in 10 % (`benchmarks/compare_calibration.py`).
    """
    clustered = found.groups is not None and len(np.unique(found.groups)) < len(found.groups)
    if name == "AUROC":
        p = delong(found.positive, first.probabilities, second.probabilities, found.groups)
        return p, "Obuchowski" if clustered else "DeLong"
    if name == "accuracy":
        p = mcnemar(first.said == found.positive, second.said == found.positive, found.groups)
        return p, "Durkalski" if clustered else "McNemar"
    return resampled.p(difference), "bootstrap"


def reliability(positive: Bool[np.ndarray, " cases"], scores: Float[np.ndarray, " cases"]) -> list[tuple[float, float, int]]:
    """Mean probability, share of the class and cases of each of ten equal bins that has a case."""
    bins = _bins(scores)
    return [
        (float(scores[bins == b].mean()), float(positive[bins == b].mean()), int((bins == b).sum()))
        for b in range(CALIBRATION_BINS)
        if (bins == b).any()
    ]


def net_benefit(positive: Bool[np.ndarray, " cases"], scores: Float[np.ndarray, " cases"], threshold: float) -> float:
    """Share of true positives less that of false ones, weighted by the odds of the threshold.

    Source: Vickers & Elkin 2006, Equation 1
    """
    treated = scores >= threshold
    odds = threshold / (1 - threshold)
    return float(((treated & positive).sum() - odds * (treated & ~positive).sum()) / len(positive))


def _net_benefits(found: Compared) -> dict[str, list[float]]:
    everyone = np.ones(len(found.positive))
    curves = {"all": everyone, **{m.name: m.probabilities for m in found.models}}
    drawn = {name: [net_benefit(found.positive, scores, t) for t in THRESHOLDS] for name, scores in curves.items()}
    return {**drawn, "none": [0.0] * len(THRESHOLDS)}
