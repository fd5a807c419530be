"""The one exception of the package."""


class Error(Exception):
    """A file, an argument or a board is not what it must be.

    The message says what was seen, what was expected and what to do.
    """
