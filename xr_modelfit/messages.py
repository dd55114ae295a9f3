"""Wording that several error messages share, and where warnings point to."""

import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

__all__ = ["a", "listed", "numbers_in_order", "outside_level", "sentence", "starts_by_name", "suggestion"]


def listed(names: Iterable[Any]) -> str:
    """Names for a message, in their order: ``'y', 'x'``; ``none`` when there is none."""
    return ", ".join(repr(name) for name in names) or "none"


def suggestion(name: Any, known: Iterable[Any]) -> str:
    """`` Did you mean 'velocity'?`` where a known name is close to ``name``, else nothing."""
    names = [str(k) for k in known]
    alike = [n for n in names if n.lower() == str(name).lower()]  # fwhm_G of Voigt1D, not its fwhm_L
    close = alike or get_close_matches(str(name), names, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def a(value: Any) -> str:
    """The type of a value with its article: ``an ndarray``."""
    name = type(value).__name__
    vowel = (name[0] in "aeiouAEIOU" and name != "ufunc") or name in ("ndarray", "numpy")
    return f"{'an' if vowel else 'a'} {name}"


def sentence(text: object) -> str:
    """A foreign message as one sentence, on one line, with a full stop."""
    line = " ".join(str(text).split())
    return line if line.endswith((".", "!", "?")) else f"{line}."


def numbers_in_order(values: Any) -> list[str]:
    """Numbers in one row, or one number, as they are written; nothing for all else. An infinite one is no bound."""
    if not isinstance(values, list | tuple | np.ndarray | np.number | int | float) or hasattr(values, "unit"):
        return []
    try:
        array = np.atleast_1d(np.asarray(values))
    except (ValueError, TypeError):  # of several sizes, or with units
        return []
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        return []
    return [f"{one:.6g}" if np.isfinite(one) else "None" for one in array.tolist()]


def starts_by_name(values: Any, names: Sequence[str]) -> str | None:
    """``p0={'a': 800, 'tau': 40}``, if ``values`` are as many numbers as there are names; else None."""
    numbers = numbers_in_order(values)
    if not names or len(numbers) != len(names):
        return None
    return f"p0={{{', '.join(f'{n!r}: {v}' for n, v in zip(names, numbers, strict=True))}}}"


def outside_level() -> int:
    """Stack level, for the function that warns, of the first frame outside the package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("xr_modelfit."):
        level, frame = level + 1, frame.f_back
    return level
