"""The one exception that users of the project are meant to read, and how it shows what was found."""

from collections.abc import Sequence
from typing import Any

SHOWN = 20  # problems of one kind that a message lists


class VsdError(ValueError):
    """Report something the user can mend: bad input, a missing file, a parameter out of range.

    The text says what was found (file, item, field), what was expected and what to do. Command lines print it
    without a traceback and exit with status 2; a notebook shows it as the last line of its failing cell.
    """


def listed(problems: Sequence[str], limit: int = SHOWN) -> str:
    """Join problems, one a line, the first ``limit`` of them and how many more there are."""
    more = len(problems) - limit
    return "\n".join([*problems[:limit], *([f"... and {more:,} more"] if more > 0 else [])])


def shown(value: Any) -> str:
    """Show a value of any JSON file in at most 80 characters of a message."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested hundreds of levels deep; more digits than Python prints
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= 80 else text[:77] + "..."
