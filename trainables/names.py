"""Names that others chose, of tasks, labels and images, as parts of metric names and of files."""

import hashlib
from urllib.parse import quote

#: What stands for the `%` of percent-encoding: MLflow takes no `%` in a metric's name, and a `:` parts metric from mode.
_MARK = "-x"
LONGEST = 80
_DIGITS = 16


def escaped(name: str) -> str:
    """A name that is safe between two slashes of a metric's name and in a file's name; two names never give the same.

    Letters, digits, `_`, `.`, `-` and spaces of ASCII stay, everything else is percent-encoded with `-x` for `%`, as are a
    whole `.` and `..` and the `-` of a `-x` that was there before. What is longer than 80 characters then is cut, and ends
    with a digest of all of it.

    Args:    name: any text.
    Returns: 1 to 80 characters of `[A-Za-z0-9_. -]`.
    """
    if name in ("", ".", ".."):
        return name.replace(".", f"{_MARK}2E") or _MARK
    encoded = quote(name, safe=" ", errors="surrogatepass")
    text = encoded.replace(_MARK, f"{_MARK}2Dx").replace("~", "%7E").replace("%", _MARK)
    if len(text) <= LONGEST:
        return text
    # No name that is not cut has a mark that is not followed by two digits.
    end = f"{_MARK}_{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:_DIGITS]}"
    return text[: LONGEST - len(end)] + end
