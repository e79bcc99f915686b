"""The one exception that users of the project are meant to read."""


class VsdError(ValueError):
    """Something the user can mend: bad input, a missing file, a parameter out of range.

    The text says what was found (file, item, field), what was expected and what to do. Command lines print it
    without a traceback and exit with status 2; a notebook shows it as the last line of its failing cell.
    """
