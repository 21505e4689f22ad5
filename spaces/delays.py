"""Fields that put off what a metric measures: a trial is judged from where it is trained."""

from collections.abc import Mapping

from spaces.fields import Field, Value


def delay_of(fields: Mapping[str, Field], config: Mapping[str, Value], metric: str) -> int:
    """Epochs at the beginning of a trial in which what a metric measures is not trained.

    Args:    fields: of the space.
             config: of the trial.
             metric: its full name, `valid/melanoma/auroc`.
    """
    own = metric.partition("/")[2]
    delays = [config.get(name) for name, field in fields.items() if field.delays and own.startswith(field.delays)]
    return int(max((value for value in delays if isinstance(value, int | float)), default=0))
