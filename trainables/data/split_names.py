"""What people call the splits: in a table's column, and after `--split`."""

_NAMES = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "dev", "development"),
    "test": ("test", "testing"),
}
#: Every such name, in lower case → the split.
SPLIT_OF = {name: split for split, names in _NAMES.items() for name in names}


def split_named(name: str) -> str:
    """The split of that name in any case; a name of none as it is, for whoever knows the splits to refuse it."""
    return SPLIT_OF.get(name.lower(), name)
