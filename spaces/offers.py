"""What a search offers of a field: all, less the choices that stand for nothing new and what is too much for few cases."""

import dataclasses
from collections.abc import Mapping

from spaces.errors import RequestError
from spaces.fields import Field, Value, format_value


def offered(fields: Mapping[str, Field], fixed: Mapping[str, Value]) -> dict[str, Field]:
    """The fields without the choices that a search does not offer beside the fixed values (see `Field.without`).

    Args:    fields: of a space, narrowed or not.
             fixed: values of the fields that are not searched.
    Raises:  RequestError: when a field that is searched would keep no two choices.
    """
    return {name: field if name in fixed else _offered(field, fixed) for name, field in fields.items()}


def limited(fields: Mapping[str, Field], num_cases: int, num_labels: int) -> dict[str, str]:
    """Field → range of those whose upper end is lower for so few cases, as the command line writes ranges.

    Args:    fields: that are searched.
             num_cases: training cases, 0 where there are none.
             num_labels: classes of all tasks together.
    """
    found = {}
    for name, field in fields.items():
        if field.cases is not None and isinstance(field.default, int) and num_cases:
            high = max(field.cases.high(field.default, num_cases, num_labels), int(field.low) + 1)
            if high < field.high:
                found[name] = f"int:{'log:' if field.log else ''}{field.low:g}..{high}"
    return found


def _offered(field: Field, fixed: Mapping[str, Value]) -> Field:
    held = {
        choice: [name for name, values in beside.items() if name in fixed and fixed[name] in values]
        for choice, beside in field.without.items()
    }
    left = tuple(choice for choice in field.choices if not held.get(choice))
    if left == field.choices:
        return field
    if len(left) < 2:
        gone = next(choice for choice, names in held.items() if names and choice in field.choices)
        beside = " and ".join(f"{name}={format_value(fixed[name])}" for name in held[gone])
        raise RequestError(
            f"--space {field.name}= must leave two values or more that differ beside {beside}; got {field.range_text()}, of which"
            f" {format_value(gone)} is not offered there (one: --set {field.name}=)"
        )
    return dataclasses.replace(field, choices=left, default=field.default if field.default in left else left[0])
