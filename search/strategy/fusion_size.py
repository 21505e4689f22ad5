"""How many trials of a shape one program may hold: what was asked, or where more of them stop paying."""

from collections.abc import Iterable

from search.records.events import Fused
from spaces.fields import Value

#: What fused trials have in common, as JSON values.
Shape = tuple[Value, ...]
#: Twice as many trials must train so many times as fast together, or they stay as many as they were.
GROWTH = 1.2
#: Seconds of training by which a size is judged, after its first report, which pays for what is made once.
MEASURED_S = 5.0
#: Most trials fused where no number was asked for.
MOST = 64
#: Most that may be asked for.
MOST_ASKED = 256
#: Of a device's memory, for what a later trial may need beyond those that were measured.
_MEMORY = 0.8


class FusionSize:
    """The most fused trials of each shape at present. While it is measured it doubles as long as that pays and the memory lasts.

    Args:    asked: trials to fuse, None to measure.
             decided: the last that earlier processes decided of each shape; a size that was only being tried is come to again.
    """

    def __init__(self, asked: int | None, decided: Iterable[Fused] = ()) -> None:
        self._asked = asked
        self._limits: dict[Shape, int] = {}
        self._settled: set[Shape] = set()
        self._warm: set[Shape] = set()
        self._epochs, self._seconds = dict[Shape, int](), dict[Shape, float]()
        self._rates: dict[tuple[Shape, int], float] = {}
        for last in decided:
            num_trials = last.num_trials if last.settled else max(1, last.num_trials // 2)
            self._set(tuple(last.shape), num_trials, settled=last.settled)

    @property
    def is_single(self) -> bool:
        """Whether a worker has one trial, whatever their shapes are."""
        return self._asked == 1

    def limit(self, shape: Shape) -> int:
        """Trials of this shape that a worker may have."""
        return self._limits.get(shape, self._asked or 1)

    @property
    def most(self) -> int:
        """The same of the shape that may have most."""
        return max([self._asked or 1, *self._limits.values()])

    def is_settled(self, shape: Shape) -> bool:
        """Whether this shape's limit stays."""
        return self._asked is not None or shape in self._settled

    def observe(self, shape: Shape, num_members: int, num_epochs: int, seconds: float, peak_share: float | None = None) -> bool:
        """Takes what a worker has done; says whether its shape's limit has changed, or is final now.

        Args:    shape: of its trials.
                 num_members: that were trained.
                 num_epochs: of all members together.
                 seconds: that these took.
                 peak_share: most of the device's memory that was in use, 0 to 1; None where that is not known.
        """
        limit = self.limit(shape)
        if self.is_settled(shape) or num_members != limit:
            return False
        if shape not in self._warm:
            self._warm.add(shape)
            return False
        self._epochs[shape] = self._epochs.get(shape, 0) + num_epochs
        self._seconds[shape] = self._seconds.get(shape, 0.0) + seconds
        if self._seconds[shape] < MEASURED_S:
            return False
        rate = self._rates[shape, limit] = self._epochs[shape] / self._seconds[shape]
        before = self._rates.get((shape, limit // 2))
        if before is not None and rate < GROWTH * before:
            self._set(shape, limit // 2, settled=True)
        elif limit >= MOST or (peak_share is not None and 2 * peak_share > _MEMORY):
            self._set(shape, limit, settled=True)
        else:
            self._set(shape, 2 * limit)
        return True

    def ran_out(self, shape: Shape, num_members: int) -> bool:
        """So many did not fit the device's memory; says whether fewer are to be tried, which a single one cannot be."""
        if num_members < 2:
            return False
        self._set(shape, min(self.limit(shape), num_members // 2), settled=True)
        return True

    def _set(self, shape: Shape, limit: int, *, settled: bool = False) -> None:
        self._limits[shape] = limit
        if settled:
            self._settled.add(shape)
        self._warm.discard(shape)
        self._epochs.pop(shape, None)
        self._seconds.pop(shape, None)
