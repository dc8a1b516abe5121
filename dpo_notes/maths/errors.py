"""The one exception for what the user can mend. It stands apart from checks.py so that it comes without torch."""


class InputError(ValueError):
    """A value that the user gave and can mend. The message says what, what came, and what was expected."""
