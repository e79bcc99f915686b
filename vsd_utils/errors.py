"""The one exception that users of the project are meant to read, and how it shows what was found."""

from typing import Any


class VsdError(ValueError):
    """Something the user can mend: bad input, a missing file, a parameter out of range.

    The text says what was found (file, item, field), what was expected and what to do. Command lines print it
    without a traceback and exit with status 2; a notebook shows it as the last line of its failing cell.
    """


def shown(value: Any) -> str:
    """Show a value of any JSON file in at most 80 characters of a message."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested hundreds of levels deep; more digits than Python prints
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= 80 else text[:77] + "..."
