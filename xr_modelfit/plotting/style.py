"""What all pictures share: matplotlib itself, colours, labels, and what a drawing call returns."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xr_modelfit.extras import needed
from xr_modelfit.messages import a
from xr_modelfit.plotting.unit_words import typeset
from xr_modelfit.status import FitStatus

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "BLANK",
    "Picture",
    "axes_given",
    "bar_axes",
    "check_size",
    "label_of",
    "pyplot",
    "status_colours",
    "status_name",
    "with_error",
    "wrapped",
]

_HARD = "\u00a0"  # a space where no line ends
BLANK = "0.75"  # grey of positions without a fit: no part of the colour maps in use

# Successes are blue, failures warm or dark, and what was never fitted grey or white. Those that occur
# together most often differ for all kinds of colour vision (after Okabe & Ito, and Tol).
_COLOURS = {
    FitStatus.CONVERGED: "#0072b2",
    FitStatus.CONVERGED_AT_BOUND: "#7cc4f0",
    FitStatus.NOT_ATTEMPTED: "#ffffff",
    FitStatus.MAX_ITERATIONS: "#d55e00",
    FitStatus.NO_PROGRESS: "#f0a830",
    FitStatus.DEGENERATE: "#cc79a7",
    FitStatus.TOO_FEW_POINTS: "#762a55",
    FitStatus.NO_DATA: BLANK,
    FitStatus.NONFINITE_DATA: "#8c8430",
    FitStatus.INVALID_START: "#f0e442",
    FitStatus.NONFINITE_MODEL: "#3a1f78",
    FitStatus.FITTER_ERROR: "#000000",
    FitStatus.FITTER_WARNING: "#8b4a2b",
}


@dataclass(frozen=True, repr=False)
class Picture:
    """What was drawn, as xarray's ``FacetGrid`` has it.

    Parameters
    ----------
    fig : matplotlib.figure.Figure
    axs : numpy.ndarray of matplotlib.axes.Axes
        The axes in use.
    artists : dict
        What is drawn, by name: the variables of a result; ``data``, ``model``, ``residuals`` of one fit.
    """

    fig: Any
    axs: np.ndarray
    artists: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {', '.join(self.artists)}>"


def pyplot(what: str) -> Any:
    """The module `matplotlib.pyplot`, imported only when something is drawn; without it, the error names the extra."""
    return needed("matplotlib.pyplot", "plot", what)


def check_size(ax: Any, figsize: Any) -> None:
    """Refuse a size of the figure beside axes that have one."""
    if ax is not None and figsize is not None:
        raise ValueError("ax and figsize are both given; axes have their figure's size already. Leave one out.")


def axes_given(ax: Any, n: int, what: str) -> list[Axes]:
    """Exactly ``n`` axes from one, or from a sequence or array of them."""
    from matplotlib.axes import Axes

    found = [ax] if isinstance(ax, Axes) else list(np.ravel(np.asarray(ax, dtype=object)))
    wrong = [one for one in found if not isinstance(one, Axes)]
    if wrong:
        raise TypeError(f"ax is {a(wrong[0])}; pass matplotlib Axes, for example ax=plt.gca(), or a sequence of them.")
    if len(found) != n:
        raise ValueError(
            f"ax holds {len(found)} axes, but {what} {'needs' if n == 1 else 'need'} {n}: "
            f"fig, axs = plt.subplots({n}), ax=axs; or leave ax out."
        )
    return found


def bar_axes(ax: Axes) -> Axes:
    """Axes for a colour bar beside a map: with its arrows as high as the map, whatever its shape."""
    return ax.inset_axes((1.03, 0.05, 0.045, 0.9))  # what is higher than the map pushes its title up


def label_of(array: xr.DataArray, name: str | None = None) -> str:
    """Long name or name, with the unit in brackets, as xarray labels axes; a unit of 1 is not shown."""
    attrs = array.attrs
    words = name or attrs.get("long_name") or attrs.get("standard_name") or array.name
    units = attrs.get("units")
    return wrapped(
        f"{'' if words is None else words}{'' if units in (None, '', '1') else f' [{typeset(str(units))}]'}".strip()
    )


def wrapped(text: str, width: int = 34) -> str:
    """Text on lines that fit beside an axis; a unit in brackets stays on one."""
    whole = re.sub(r"\[[^\]]*\]", lambda unit: unit.group().replace(" ", _HARD), " ".join(text.split()))
    return "\n".join(textwrap.wrap(whole, width, break_long_words=False)).replace(_HARD, " ") or text


def status_name(code: float) -> str:
    """The meaning of a code; the number itself where a newer version has put a code that is not known."""
    try:
        return FitStatus(int(code)).meaning
    except ValueError:
        return f"status {int(code)}"


def status_colours(codes: Iterable[int]) -> list[str]:
    """A colour for each code."""
    known = {int(status): colour for status, colour in _COLOURS.items()}
    return [known.get(int(code), "#40e0d0") for code in codes]


def with_error(value: float, error: float) -> str:
    """A value with its error, both to two significant digits of the error: ``4844 ± 11``.

    A zero or missing error leaves the value, to six digits.

    Examples
    --------
    >>> with_error(0.99412, 0.01049), with_error(1.2345e-17, 2.1e-19), with_error(4500.0, 0.0)
    ('0.994 ± 0.010', '(1.234 ± 0.021)e-17', '4500')
    """
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return f"{value:.6g}"
    last = math.floor(math.log10(float(f"{error:.1e}"))) - 1  # place of the error's second digit
    first = math.floor(math.log10(max(abs(value), error)))
    if -4 <= first <= 6 and last >= -6:
        return f"{round(value, -last):.{max(-last, 0)}f} ± {round(error, -last):.{max(-last, 0)}f}"
    digits = max(first - last, 0)
    return f"({value / 10.0**first:.{digits}f} ± {error / 10.0**first:.{digits}f})e{first:+03d}"
