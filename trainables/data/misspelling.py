"""Labels that are probably one, written in two ways."""

import re

#: A shorter word that differs in a letter is another word: BCC and SCC, arm and leg.
_SHORTEST = 5
#: Hyphens that are signs (-1, HER2-), and what parts two numbers: 1-2 is not 12.
_SIGN = re.compile(r"^-+|-+$|(?<=\s)-(?=\d)|(?<=\d)[\s_-]+(?=\d)")
_NUMERAL = re.compile(r"[IVXivx]+")


def misspelt(one: str, other: str) -> bool:
    """Whether two labels differ in capitals, spaces, hyphens or underscores only, or in one letter of one longer word.

    A letter more or less in front is another word (typical and atypical), as is another number, sign or
    numeral (grade II and III).
    """
    first, second = _words(one), _words(other)
    if "".join(first) == "".join(second):
        return one != other
    different = [(a, b) for a, b in zip(first, second, strict=False) if a != b]
    if len(first) != len(second) or len(different) != 1:
        return False
    ((a, b),) = different
    plain = a.isalpha() and b.isalpha() and not (_NUMERAL.fullmatch(a) and _NUMERAL.fullmatch(b))
    return plain and min(len(a), len(b)) >= _SHORTEST and _one_slip(a, b)


def _words(label: str) -> list[str]:
    return re.split(r"[\s_-]+", _SIGN.sub("\N{MINUS SIGN}", label.casefold()))


def _one_slip(a: str, b: str) -> bool:
    """One letter changed, left out or added but for the first one, or two neighbours changed round."""
    shorter, longer = sorted((a, b), key=len)
    start = next((i for i, (x, y) in enumerate(zip(shorter, longer, strict=False)) if x != y), len(shorter))
    if len(longer) == len(shorter) + 1:
        return start > 0 and shorter[start:] == longer[start + 1 :]
    if len(longer) != len(shorter):
        return False
    swapped = shorter[start : start + 2] == longer[start : start + 2][::-1]
    return shorter[start + 1 :] == longer[start + 1 :] or (swapped and shorter[start + 2 :] == longer[start + 2 :])
