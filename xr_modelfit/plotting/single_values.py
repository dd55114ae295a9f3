"""A result of one fit without its samples: each parameter on an axis of its own, with its error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from xr_modelfit.fits_io.headers import FRAME
from xr_modelfit.plotting.style import Picture, label_of, status_name, with_error
from xr_modelfit.plotting.variables import Selected
from xr_modelfit.results.positions import label_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_values"]


def draw_values(axs: list[Axes], selected: Selected, names: list[str], *, title: bool) -> Picture:
    """Draw one value in each of the axes; the value is written above it."""
    artists = {}
    loaded = selected.loaded
    for ax, name in zip(axs, names, strict=True):
        value = float(loaded[name])
        error = float(loaded[f"{name}_stderr"]) if f"{name}_stderr" in loaded else np.nan
        bar = error if np.isfinite(error) and error > 0 else None
        artists[name] = ax.errorbar([value], [0.0], xerr=bar, fmt="o", color="C0", capsize=4)
        units = loaded[name].attrs.get("units")
        known = np.isfinite(value)
        words = with_error(value, error) + ("" if units in (None, "", "1") else f" {units}") if known else "no value"
        ax.set_title(f"{name} = {words}" if known else f"{name}: {words}", fontsize="medium", loc="left")
        ax.set(yticks=[], ylim=(-1, 1), xlabel=label_of(loaded[name]))
        if not known:
            ax.set_xticks([])
        elif bar is None:
            ax.margins(x=0.5)
        else:
            ax.set_xlim(value - 3 * error, value + 3 * error)
    if title:
        axs[0].figure.suptitle(_title(selected), fontsize="medium")
    return Picture(axs[0].figure, np.array(axs, dtype=object), artists)


def _title(selected: Selected) -> str:
    """Where the fit is, by the labels that were selected, and how it ended."""
    coords = selected.loaded.coords
    labels = [n for n, one in coords.items() if one.ndim == 0 and n != FRAME and n not in coords.dims]
    place = ", ".join(f"{name} = {label_text(coords[name].values[()])}" for name in labels)
    return f"{place}: {status_name(float(selected.status))}" if place else status_name(float(selected.status))
