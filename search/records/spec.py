"""What is asked of a search: one specification, from which the command line, `search.run`, YAML files and plans derive."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, Literal

from search.errors import PlanError
from spaces.fields import format_value
from spaces.hints import suggest

Kind = Literal["text", "texts", "pairs", "count", "number", "seconds", "flag"]
_KINDS: Mapping[Any, Kind] = {
    str: "text",
    str | None: "text",
    Sequence[str]: "texts",
    Mapping[str, str]: "pairs",
    int: "count",
    int | None: "count",
    float: "number",
    float | None: "number",
    bool: "flag",
}
_WORDS: Mapping[Kind | None, str] = {
    "text": "a text",
    "texts": "a text or several",
    "pairs": "a value for each field",
    "count": "a whole number",
    "number": "a number",
    "seconds": "seconds, or a number with s, m, h or d, for example 2h",
    "flag": "true or false",
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Asked:
    """How a field is asked for.

    Args:    help: of the flag.
             flag: on the command line, None for the field's own name.
             metavar: what the help shows for the value.
             least, above: what a number must not be below, or must be above; None for no limit.
             kind: what the value is, None for what the field's type says.
             repeated: whether `--plan` takes it over; what depends on the machine, and the name, are not.
    """

    help: str
    flag: str | None = None
    metavar: str | None = None
    least: float | None = None
    above: float | None = None
    kind: Kind | None = None
    repeated: bool = True


def _asked(default: Any, help: str, **how: Any) -> Any:  # noqa: A002 - as click calls it
    made = {"default_factory": default} if callable(default) else {"default": default}
    return field(**made, metadata={"asked": Asked(help, **how)})


@dataclass(frozen=True)
class SearchSpec:
    """What a user asks for; None where the default is to decide.

    The text of each field is its flag's help. `SearchSpec.of` makes one of values as users write them.

    Args:    task: a key of `TASKS`.
             data: `FORMAT:PATH`, None for a synthetic set.
             settings, space: field of the task's space → text, as in `--set` and `--space`.
             metric: `NAME`, `NAME:min` or `NAME:max` each; the first ranks and prunes, several are a multi-objective search.
             constraints: `METRIC<=V` or `METRIC>=V` each.
             warm_start: names of earlier searches in the storage.
             the rest: see `Plan`.
    """

    task: str
    data: str | None = _asked(None, "What to train on [default: a synthetic set, drawn once].", metavar="FORMAT:PATH")
    preset: str | None = _asked(None, "Size of the search [default: demo without --data, else paper].", metavar="demo|paper")
    name: str | None = _asked(None, "Of the search [default: task and time].", repeated=False)
    num_trials: int | None = _asked(None, "Configurations to try.", flag="--trials", least=1)
    max_epochs: int | None = _asked(None, "Epochs of a trial that is never stopped.", least=1)
    time_budget_s: float | None = _asked(None, "For example 45m or 2h.", flag="--time-budget", kind="seconds", least=0)
    epoch_budget: int | None = _asked(None, "Epochs over all trials.", least=1)
    gpu_hours: float | None = _asked(None, "Hours of whole GPUs over all trials.", above=0)
    terminate: bool = _asked(False, "End when little more is to be expected (Optuna's terminator).")
    metric: Sequence[str] = _asked(
        (),
        "What to optimise; the first of several ranks and prunes [default: valid/auroc_mean, the mean over all tasks, for gated;"
        " valid/melanoma/auroc for attentive].",
        metavar="NAME[:min|max]",
    )
    constraints: Sequence[str] = _asked((), "A limit that the best trial must keep.", flag="--constraint", metavar="'METRIC<=V'")
    sampler: str = _asked("tpe", "tpe, gp, cmaes, random, qmc or nsga2.")
    scheduler: str = _asked("asha", "asha, asha-promote, hyperband, median, one-epoch or none.")
    grace_period: int | None = _asked(None, "Epochs before a trial may be stopped.", least=1)
    reduction: int = _asked(3, "One in so many passes a rung.", least=2)
    settings: Mapping[str, str] = _asked(dict, "Fix a field (see `dermtune space`).", flag="--set", metavar="FIELD=VALUE")
    space: Mapping[str, str] = _asked(dict, "Narrow a field: log:1e-4..1e-2, 0.3..0.9, a|b.", metavar="FIELD=RANGE")
    warm_start: Sequence[str] = _asked((), "Learn from an earlier search's trials.", metavar="NAME")
    cpus_per_trial: float = _asked(1.0, "Processor cores of a trial.", least=0.1)
    gpus_per_trial: str = _asked("auto", "A share, a whole number or auto.", repeated=False)
    max_concurrent: int | None = _asked(None, "Trials at once [default: what fits].", least=1, repeated=False)
    fuse_trials: str = _asked("off", "Trials that train as one program: a number, auto or off.")
    keep_checkpoints: int = _asked(5, "Best checkpoints kept.", flag="--keep", least=1)
    save_every_s: float = _asked(30.0, "States to go on from.", flag="--save-every", kind="seconds", above=0)
    seed: int = _asked(0, "Of the sampler and the first trial.", least=0)

    @staticmethod
    def of(asked: Mapping[str, Any]) -> "SearchSpec":
        """A specification of values as users write them: texts or numbers, one text or several.

        Raises:  PlanError: when there is no such field, or its value is none of its kind or range.
        """
        for name in asked:
            if name not in FIELDS:
                raise PlanError(f"a search must be asked for by {', '.join(FIELDS)}; got {name!r}{_hint(name)}")
        if not asked.get("task"):
            raise PlanError("TASK must be given: gated or attentive")
        spec = SearchSpec(**{name: _value(name, value) for name, value in asked.items()})
        spec.check()
        return spec

    def check(self) -> None:
        """Refuses numbers out of range.

        Raises:  PlanError: when one is.
        """
        for name, how in FIELDS.items():
            value = getattr(self, name)
            if value is None or (how.least is None and how.above is None):
                continue
            if how.least is not None and not value >= how.least:
                raise PlanError(f"{name} must be {how.least:g} or more; got {value}")
            if how.above is not None and not value > how.above:
                raise PlanError(f"{name} must be above {how.above:g}; got {value}")
            if not value < math.inf:
                raise PlanError(f"{name} must be a finite number; got {value}")

    def changed(self, asked: Mapping[str, Any]) -> "SearchSpec":
        """The specification with some of it asked for otherwise; settings and ranges are added to its own, and replace them.

        Raises:  PlanError: as `of`, and when it is to become one of another task.
        """
        other = SearchSpec.of({"task": self.task, **asked})
        if other.task != self.task:
            raise PlanError(f"TASK must be {self.task}, as in the file; got {other.task}")
        settings = {name: text for name, text in self.settings.items() if name not in other.space}
        space = {name: text for name, text in self.space.items() if name not in other.settings}
        own = {name: getattr(other, name) for name in asked}
        return replace(self, **{**own, "settings": {**settings, **other.settings}, "space": {**space, **other.space}})

    def given(self) -> dict[str, Any]:
        """What is not left at its default, by field."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) != _default(each)}


def _default(of: Field[Any]) -> Any:
    return of.default if of.default_factory is MISSING else of.default_factory()


def _how(of: Field[Any]) -> Asked:
    how: Asked = of.metadata.get("asked", Asked("gated or attentive."))
    return replace(how, flag=how.flag or f"--{of.name.replace('_', '-')}", kind=how.kind or _KINDS[of.type])


#: Name → how it is asked for; the kinds follow from the types.
FIELDS: Mapping[str, Asked] = {each.name: _how(each) for each in fields(SearchSpec)}


def _hint(name: str) -> str:
    """What was meant, where it is a flag's name or near to a field's."""
    flag = f"--{name.replace('_', '-')}"
    meant = next((own for own, how in FIELDS.items() if how.flag == flag), None)
    return suggest(name, FIELDS) if meant is None else f" (did you mean {meant!r}?)"


def _value(name: str, value: Any) -> Any:
    """A field's value, from a text or a value of its kind.

    Raises:  PlanError: when it is of no such kind.
    """
    kind = FIELDS[name].kind
    try:
        if value is None:
            return None
        if kind == "texts":
            return (value,) if isinstance(value, str) else tuple(_text(each) for each in _several(value))
        if kind == "pairs":
            return {_text(key): _text(each) for key, each in dict(value).items()}
        if kind == "flag":
            return {"true": True, "false": False}[_text(value)]
        if kind == "count":
            return _whole(value)
        if kind == "seconds":
            return seconds_of(value) if isinstance(value, str) and not _is_number(value) else float(value)
        return float(value) if kind == "number" else _text(value)
    except (TypeError, ValueError, KeyError) as error:
        raise PlanError(f"{name} must be {_WORDS[kind]}; got {value!r}") from error


def _several(value: Any) -> Iterable[Any]:
    if not isinstance(value, Sequence):
        raise TypeError("not several")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str | int | float | bool):
        raise TypeError("no single value")
    return value if isinstance(value, str) else format_value(value)


def _whole(value: Any) -> int:
    number = int(value)
    if isinstance(value, bool) or (isinstance(value, float) and number != value):
        raise ValueError("not whole")
    return number


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def seconds_of(text: str) -> float:
    """`90s`, `45m`, `2h`, `1d` in seconds.

    Raises:  ValueError: when it is none of these.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"a duration must be a number with s, m, h or d, for example 2h; got {text!r}")
    return float(match[1]) * _UNIT_S[match[2]]
