"""Fields that follow another one as long as nobody sets them."""

from collections.abc import Mapping

from spaces.fields import Field, Value


def followers(fields: Mapping[str, Field], given: Mapping[str, Value]) -> dict[str, Value]:
    """Field → value of those that were not given and follow one that was: both keep the proportion of their defaults.

    Args:    fields: of the space.
             given: fields that somebody has set.
    """
    found: dict[str, Value] = {}
    for name, field in fields.items():
        lead = given.get(field.follows)
        if given.get(name) is None and isinstance(lead, int | float):
            default, leads = field.default, fields[field.follows].default
            if isinstance(default, int | float) and isinstance(leads, int | float):
                value = round(default * lead / leads / field.multiple_of) * field.multiple_of
                found[name] = min(max(value, int(field.low)), int(field.high))
    return found
