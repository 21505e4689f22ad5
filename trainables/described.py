"""What a checkpoint's config.json says of itself, checked before anything is built by it: it may come from a stranger."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spaces.fields import complete, fields_of
from trainables.errors import CheckpointError
from trainables.folders import read_json

_MOST_LABELS, _MOST_THREADS = 10_000, 4096


def read_description(folder: Path, space: type, needed: Sequence[str] = ()) -> dict[str, Any]:
    """The document, with every setting in its range.

    Args:    folder: the checkpoint.
             space: of its task.
             needed: keys beyond config, classes, num_threads and device.
    Raises:  CheckpointError: when the folder is damaged, or says what no training of ours would.
    """
    document = read_json(folder, "config.json", needed=("config", "classes", "num_threads", "device", *needed))
    try:
        _check_config(document["config"], space)
        _check_classes(document["classes"])
        _check(document["device"] in ("cpu", "cuda", "mps"), "device must be one of torch's", document["device"])
        threads = document["num_threads"]
        _check(type(threads) is int and 1 <= threads <= _MOST_THREADS, "num_threads must be 1 or more", threads)
    except ValueError as error:
        raise CheckpointError(f"a checkpoint's config.json must fit its task: {error} in {folder}") from error
    return document


def _check_config(config: Any, space: type) -> None:
    fields = fields_of(space)
    _check(isinstance(config, dict) and set(config) == set(fields), "config must name every field, and no other", config)
    # A file of pretrained weights need not be here: the checkpoint has the weights.
    files = {name: "none" for name, field in fields.items() if field.kind == "path" and isinstance(config[name], str)}
    active = complete(space, {**config, **files})
    absent = [name for name, value in active.items() if value is not None and config[name] is None]
    _check(not absent, f"{', '.join(absent)} must have a value", None)


def _check_classes(classes: Any) -> None:
    fits = isinstance(classes, dict) and all(
        isinstance(names, list) and len(names) >= 1 and all(isinstance(name, str) for name in names) for names in classes.values()
    )
    _check(fits and 0 < sum(map(len, classes.values())) <= _MOST_LABELS, "classes must name each task's", classes)


def _check(fits: bool, rule: str, value: Any) -> None:
    if not fits:
        raise ValueError(f"{rule}; got {ascii(value)[:80]}")
