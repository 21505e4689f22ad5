"""Which choices a search offers: all of a field's, less those that stand for nothing new beside what is fixed."""

import dataclasses
from collections.abc import Mapping

from spaces.fields import Field, Value, format_value


def offered(fields: Mapping[str, Field], fixed: Mapping[str, Value]) -> dict[str, Field]:
    """The fields without the choices that a search does not offer beside the fixed values (see `Field.without`).

    Args:    fields: of a space, narrowed or not.
             fixed: values of the fields that are not searched.
    Raises:  ValueError: when a field that is searched would keep no two choices.
    """
    return {name: field if name in fixed else _offered(field, fixed) for name, field in fields.items()}


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
        raise ValueError(
            f"--space {field.name}= must leave two values or more that differ beside {beside}; got {field.range_text()}, of which"
            f" {format_value(gone)} is not offered there (one: --set {field.name}=)"
        )
    return dataclasses.replace(field, choices=left, default=field.default if field.default in left else left[0])
