"""The paper's configuration, and what a search's settings leave of it."""

from collections.abc import Mapping

from spaces.fields import Field, Value, format_value


def paper_config(fields: Mapping[str, Field], fixed: Mapping[str, Value]) -> dict[str, Value]:
    """The defaults, which are the paper's, with the fixed fields in their place and None where a field is inactive."""
    values: dict[str, Value] = {}
    for name, field in fields.items():
        values[name] = fixed.get(name, field.default) if field.is_active(values) else None
    return values


def settings_beside(fields: Mapping[str, Field], rules: Mapping[str, Value], config: Mapping[str, Value]) -> list[str]:
    """`FIELD=VALUE` of what a configuration has otherwise than the paper.

    Args:    fields: of the space, as the paper has them.
             rules: fields that the paper has otherwise than their defaults, for how it chooses an epoch.
             config: every field of the space.
    """
    paper = {**paper_config(fields, {}), **rules}
    return [f"{name}={format_value(value)}" for name, value in config.items() if value != paper[name]]
