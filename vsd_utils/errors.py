"""The one exception that users of the project are meant to read."""

from collections.abc import Sequence

SHOWN = 20  # problems of one kind that a message lists


class VsdError(ValueError):
    """Something the user can mend: bad input, a missing file, a parameter out of range.

    The text says what was found (file, item, field), what was expected and what to do. Command lines print it
    without a traceback and exit with status 2; a notebook shows it as the last line of its failing cell.
    """


def listed(problems: Sequence[str], shown: int = SHOWN) -> str:
    """Join problems, one a line, the first ``shown`` of them and how many more there are."""
    more = len(problems) - shown
    return "\n".join([*problems[:shown], *([f"... and {more:,} more"] if more > 0 else [])])
