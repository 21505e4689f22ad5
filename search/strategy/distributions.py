"""Fields as Optuna distributions, and one suggestion from them."""

from collections.abc import Callable, Mapping

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from spaces.fields import Field, Value
from spaces.offers import offered


def distribution_of(field: Field) -> BaseDistribution:
    """The Optuna distribution of a field that can be searched.

    Raises:  ValueError: when the field is a text.
    """
    if field.kind == "real":
        return FloatDistribution(field.low, field.high, log=field.log)
    if field.kind == "integer":
        return IntDistribution(int(field.low), int(field.high), log=field.log)
    if field.kind == "choice":
        return CategoricalDistribution(field.choices)
    raise ValueError(f"{field.name} must be a number or a choice to be searched; got a {field.kind}")


def searched_fields(fields: Mapping[str, Field], fixed: Mapping[str, Value]) -> list[Field]:
    """The fields that a search varies: those not fixed, with the choices that are offered beside the fixed ones."""
    return [field for name, field in offered(fields, fixed).items() if name not in fixed]


Draw = Callable[[Field], Value]


def drawn_from(trial: optuna.Trial) -> Draw:
    """Values as Optuna suggests them for a trial that `study.ask()` gave."""

    def draw(field: Field) -> Value:
        if field.kind == "real":
            return trial.suggest_float(field.name, field.low, field.high, log=field.log)
        if field.kind == "integer":
            return trial.suggest_int(field.name, int(field.low), int(field.high), log=field.log)
        return trial.suggest_categorical(field.name, field.choices)

    return draw


def suggest(draw: Draw, fields: Mapping[str, Field], fixed: Mapping[str, Value]) -> dict[str, Value]:
    """A whole configuration: fixed values, suggested ones, None where a field is inactive.

    Args:    draw: gives the value of a field, for instance `drawn_from(trial)`.
             fields: of the space, conditions refer to earlier ones only.
             fixed: fields that are not searched.
    """
    values: dict[str, Value] = {}
    for name, field in fields.items():
        if not field.is_active(values):
            values[name] = None
        elif name in fixed:
            values[name] = fixed[name]
        else:
            values[name] = draw(field)
    return values
