"""What was asked for and cannot be."""


class RequestError(ValueError):
    """A field, value or option that was asked for is none that can be had; the text says what must be, and where to change it.

    It is a `ValueError`, as an argument that makes no sense raises anywhere in Python; unlike one it is known to be a request's.
    """
