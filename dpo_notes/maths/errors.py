"""The one exception for what the user can fix. It is not in checks.py so that it can be imported without torch."""


class InputError(ValueError):
    """A value from the user that is wrong. The message says which value, what came, and what was expected."""
