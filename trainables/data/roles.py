"""Which column of a table is what. Written behind a data set's path, so that it goes wherever the path goes."""

import csv
import io
import re
import shlex
from dataclasses import dataclass, fields, replace
from urllib.parse import quote, unquote

from spaces.errors import RequestError
from trainables.errors import DataError

_FOLD = r"(?:#fold=(?P<index>\d+)/(?P<count>\d+))?$"
#: Roles in any order, each value percent-encoded, then one of several stratified splits instead of the data's own.
_BEHIND = re.compile(r"(?P<roles>(?:#(?:group|image|split|columns|ignore)=[^#/]+)*)" + _FOLD)


@dataclass(frozen=True)
class ColumnRoles:
    """What the user says of a table's columns.

    Args:    group: whose each case is; None leaves it to the format.
             image: names each case's image; None takes `image`.
             columns: those that are tasks; empty for all that are left.
             ignore: those that are not read at all.
             split: says which split each case is in; None takes `split`.
    """

    group: str | None = None
    image: str | None = None
    columns: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    split: str | None = None

    def given(self) -> dict[str, tuple[str, ...]]:
        """Role → columns, of the roles that are given."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: (value,) if isinstance(value, str) else value for name, value in values.items() if value}

    def behind(self) -> str:
        """As text behind a path: `#group=patient#ignore=age,comment`."""
        return "".join(f"#{name}={','.join(quote(c, safe=' ') for c in columns)}" for name, columns in self.given().items())

    def options(self) -> str:
        """As options of the command line: `--group patient --ignore age,comment`."""
        return " ".join(f"{option_of(name)} {as_option(*columns)}" for name, columns in self.given().items())

    def leaves_out(self, column: str) -> bool:
        """Whether a column is no task and has no role, image and split aside where their names say what they are."""
        return column in self.ignore or (bool(self.columns) and column not in (*self.columns, self.group, self.image, self.split))

    def over(self, other: "ColumnRoles") -> "ColumnRoles":
        """These, and another's where none are given here."""
        return replace(other, **{name: getattr(self, name) for name in self.given()})

    def check_only_group(self, format_name: str) -> None:
        """Refuses what has a meaning for tables only.

        Raises:  DataError: when more than the group is given.
        """
        other = [name for name in self.given() if name != "group"]
        if other:
            raise DataError(
                f"{option_of(other[0])} must stand beside table:FILE; got {format_name}, whose columns have fixed meanings"
            )


def option_of(role: str) -> str:
    """The option of the command line that names a role's columns; `--split` chooses one of the splits."""
    return "--split-column" if role == "split" else f"--{role}"


def as_option(*columns: str) -> str:
    """Columns as one value of an option, quoted for the shell and for commas."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(columns)
    return shlex.quote(line.getvalue())


def from_option(text: str) -> tuple[str, ...]:
    """The columns of an option's value; one whose name has a comma stands in double quotes."""
    try:
        names = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error as error:
        raise RequestError(f"columns must stand in one line, with commas between them; got {text!r} ({error})") from error
    return tuple(name.strip() for name in names if name.strip())


def parted(source: str) -> tuple[str, ColumnRoles, tuple[int, int] | None]:
    """`FORMAT:PATH`, the roles and the fold that stand behind it; the fold is not checked.

    Args:    source: as typed.
    """
    behind = _BEHIND.search(source)
    if behind is None:  # never: it matches the empty end
        raise ValueError(f"a source must end; got {source!r}")
    texts = dict(part.split("=", 1) for part in behind["roles"].split("#")[1:])
    columns, ignore = (tuple(map(unquote, texts[name].split(","))) if name in texts else () for name in ("columns", "ignore"))
    group, image, split = (unquote(texts[name]) if name in texts else None for name in ("group", "image", "split"))
    fold = None if behind["index"] is None else (int(behind["index"]), int(behind["count"]))
    return source[: behind.start()], ColumnRoles(group, image, columns, ignore, split), fold


def with_roles(source: str, roles: ColumnRoles) -> str:
    """The same data, whose columns mean something else where the roles say so.

    Args:    source: `FORMAT:PATH`, with or without what may stand behind it.
             roles: of its columns, any names.
    """
    path, before, fold = parted(source)
    return path + roles.over(before).behind() + ("" if fold is None else f"#fold={fold[0]}/{fold[1]}")


def without_roles(source: str) -> str:
    """The data themselves, whatever is said of their columns."""
    return parted(source)[0]


def roles_of(source: str) -> ColumnRoles:
    """What stands behind `FORMAT:PATH`."""
    return parted(source)[1]
