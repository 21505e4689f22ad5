"""How many trials one program may hold: what was asked, or where more of them stop paying."""

from collections.abc import Hashable, Iterable

from search.records.ledger import Event

#: Twice as many trials must train so many times as fast together, or they stay as many as they were.
GROWTH = 1.2
#: Seconds of training by which a size is judged, after its first report, which pays for what is made once.
MEASURED_S = 5.0
#: Most trials of an array that was not asked for by number.
MOST = 64
#: Most that may be asked for.
MOST_ASKED = 256
#: Of a device's memory, for what a later trial may need beyond those that were measured.
_MEMORY = 0.8


class ArraySize:
    """The largest array at present. While it is measured it doubles as long as that pays and the device's memory lasts.

    Args:    asked: trials of an array, None to measure.
             past: events of earlier processes.
    """

    def __init__(self, asked: int | None, past: Iterable[Event] = ()) -> None:
        self.limit, self.settled = asked or 1, asked is not None
        self._warm = set[Hashable]()
        self._epochs, self._seconds = dict[Hashable, int](), dict[Hashable, float]()
        self._rates: dict[tuple[Hashable, int], float] = {}
        for event in past:
            if event["event"] == "fused":
                self.limit, self.settled = event["num_trials"], event["settled"]

    def observe(
        self, shape: Hashable, num_members: int, num_epochs: int, seconds: float, peak_share: float | None = None
    ) -> bool:
        """Takes what an array has done; says whether the limit has changed, or is final now.

        Args:    shape: of the array; only arrays of one shape are compared.
                 num_members: that were trained.
                 num_epochs: of all members together.
                 seconds: that these took.
                 peak_share: most of the device's memory that was in use, 0 to 1; None where that is not known.
        """
        if self.settled or num_members != self.limit:
            return False
        if shape not in self._warm:
            self._warm.add(shape)
            return False
        self._epochs[shape] = self._epochs.get(shape, 0) + num_epochs
        self._seconds[shape] = self._seconds.get(shape, 0.0) + seconds
        if self._seconds[shape] < MEASURED_S:
            return False
        rate = self._rates[shape, self.limit] = self._epochs[shape] / self._seconds[shape]
        before = self._rates.get((shape, self.limit // 2))
        if self.limit > 1 and before is None:
            return False
        if before is not None and rate < GROWTH * before:
            self._set(self.limit // 2, settled=True)
        elif self.limit >= MOST or (peak_share is not None and 2 * peak_share > _MEMORY):
            self._set(self.limit, settled=True)
        else:
            self._set(2 * self.limit)
        return True

    def ran_out(self, num_members: int) -> bool:
        """So many did not fit the device's memory; says whether fewer are to be tried, which a single one cannot be."""
        if num_members < 2:
            return False
        self._set(min(self.limit, num_members // 2), settled=True)
        return True

    def _set(self, limit: int, *, settled: bool = False) -> None:
        self.limit, self.settled = limit, settled
        self._warm.clear()
        self._epochs.clear()
        self._seconds.clear()
