"""Fields as Optuna distributions, and one suggestion from them."""

from collections.abc import Mapping

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from spaces.fields import Field, Value


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
    """The fields that a search varies: those not fixed."""
    return [field for name, field in fields.items() if name not in fixed]


def paper_config(fields: Mapping[str, Field], fixed: Mapping[str, Value]) -> dict[str, Value]:
    """The defaults, which are the paper's, with the fixed fields in their place and None where a field is inactive."""
    values: dict[str, Value] = {}
    for name, field in fields.items():
        values[name] = fixed.get(name, field.default) if field.is_active(values) else None
    return values


def suggest(trial: optuna.Trial, fields: Mapping[str, Field], fixed: Mapping[str, Value]) -> dict[str, Value]:
    """A whole configuration: fixed values, suggested ones, None where a field is inactive.

    Args:    trial: as `study.ask()` gave it.
             fields: of the space, conditions refer to earlier ones only.
             fixed: fields that are not searched.
    """
    values: dict[str, Value] = {}
    for name, field in fields.items():
        if not field.is_active(values):
            values[name] = None
        elif name in fixed:
            values[name] = fixed[name]
        elif field.kind == "real":
            values[name] = trial.suggest_float(name, field.low, field.high, log=field.log)
        elif field.kind == "integer":
            values[name] = trial.suggest_int(name, int(field.low), int(field.high), log=field.log)
        else:
            values[name] = trial.suggest_categorical(name, field.choices)
    return values
