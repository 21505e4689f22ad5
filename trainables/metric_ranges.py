"""What values a metric can have."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """Limits of a metric.

    Args:    low, high: infinite where there is none.
    """

    low: float = -math.inf
    high: float = math.inf

    def interval(self, mean: float, reach: float) -> tuple[float, float]:
        """The interval around a mean that keeps within the limits.

        It is symmetric on the scale of log-odds between two limits, of logarithms above one, and of the metric itself where
        there is none; its reach is carried over by the slope at the mean. A mean at a limit leaves no such scale: the interval
        is then cut off at the limits.

        Args:    mean: of the metric.
                 reach: half its width on the metric's own scale, 0 or more.
        """
        if not self.low <= mean <= self.high:  # the range is not the metric's
            return mean - reach, mean + reach
        if not self.low < mean < self.high or self.low == -math.inf:
            return max(mean - reach, self.low), min(mean + reach, self.high)
        above = mean - self.low
        if self.high == math.inf:
            factor = math.exp(min(reach / above, 700))
            return self.low + above / factor, self.low + above * factor
        width = self.high - self.low
        odds, factor = above / (self.high - mean), math.exp(min(reach * width / (above * (self.high - mean)), 300))
        return self.low + width / (1 + factor / odds), self.low + width / (1 + 1 / (odds * factor))


SHARE = Range(0.0, 1.0)
#: Last part of a metric's name → its limits, where it is no share.
_OTHERS = {
    "contribution": Range(-1.0, 1.0),
    "structure_agreement": Range(high=1.0),
    "pointing_accuracy": Range(high=1.0),
    "loss": Range(low=0.0),
    "height": Range(),
    "latency_ms": Range(low=0.0),
    "num_parameters": Range(low=0.0),
}


def range_of(metric: str) -> Range:
    """What a metric can be.

    Args:    metric: its name, `valid/melanoma/auroc`; what is not known otherwise is a share, from 0 to 1.
    """
    return _OTHERS.get(metric.rpartition("/")[2], SHARE)
