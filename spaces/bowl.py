"""Hyperparameters of the analytic trial on which search code is tested: a bowl with a known lowest point."""

from dataclasses import dataclass

from spaces.fields import choice, integer, real
from spaces.presets import Preset


@dataclass(frozen=True)
class BowlSpace:
    """A bowl over x and y. Its floor is 0 at x = 0.3, y = -0.7; the `tilted` shape has a conditional third axis."""

    x: float = real(0.0, -1.0, 1.0, doc="first coordinate")
    y: float = real(0.0, -1.0, 1.0, doc="second coordinate")
    shape: str = choice("round", ("round", "tilted"), shapes=True, doc="tilted adds (tilt - 0.5)² and takes 0.01 off")
    tilt: float = real(0.9, 0.0, 1.0, when={"shape": ("tilted",)}, doc="third coordinate")
    rate: float = real(0.3, 0.05, 1.0, log=True, unit="1/epoch", doc="how fast the value sinks to the bowl's")
    noise: float = real(0.0, 0.0, 1.0, searched=False, doc="deviation of one validation")
    fault: str = choice(
        "none",
        ("none", "raise", "raise_tilted", "nan", "out_of_memory", "too_large", "hang"),
        searched=False,
        doc="what goes wrong at the third epoch: an error in all trials or in the tilted ones, a value that is no number, too"
        " little memory with less than half of a GPU, or with batches in less than four parts, or an hour's sleep",
    )
    idle_epochs: int = integer(0, 0, 20, searched=False, unit="epochs", delays=("height",), doc="epochs before it begins to sink")
    num_metrics: int = integer(1, 1, 1000, searched=False, doc="numbers in a report; those after the first say nothing")
    seconds_per_epoch: float = real(0.0, 0.0, 60.0, searched=False, unit="s", doc="real time an epoch takes")


PRESETS = {
    "demo": Preset(fixed={}, num_trials=20, max_epochs=20),
    "paper": Preset(fixed={}, num_trials=100, max_epochs=81),
}
