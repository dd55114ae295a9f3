"""Wording that several error messages share."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

__all__ = ["listed", "suggestion"]


def listed(names: Iterable[Any]) -> str:
    """Names for a message, in their order: ``'y', 'x'``; ``none`` when there is none."""
    return ", ".join(repr(name) for name in names) or "none"


def suggestion(name: Any, known: Iterable[Any]) -> str:
    """`` Did you mean 'velocity'?`` where a known name is close to ``name``, else nothing."""
    close = get_close_matches(str(name), [str(k) for k in known], n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
