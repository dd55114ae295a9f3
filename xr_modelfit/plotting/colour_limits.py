"""Which values choose the colours of a map: those that a fit knows well, not what it makes of noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.records.parts import parts_of
from xr_modelfit.records.record import FitRecord

__all__ = ["SIGNIFICANT", "colour_options", "well_known"]

PERCENTILES = (2.0, 98.0)  # xarray's, for robust=True
SIGNIFICANT = 5.0  # times its error: an amplitude that is no noise
SPREAD = 5.0  # times the error of the best tenth: a value that is known about as well as others
_DIVERGING = {
    "BrBG", "PRGn", "PiYG", "PuOr", "RdBu", "RdGy", "RdYlBu", "RdYlGn", "Spectral", "berlin", "bwr", "coolwarm",
    "managua", "seismic", "vanimo",
}  # fmt: skip
_CHOSEN = ("vmin", "vmax", "center", "norm", "levels")


def colour_options(
    loaded: xr.Dataset, record: FitRecord, name: str, robust: bool, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Options of xarray's map, with colour limits unless ``given`` says how colours are chosen."""
    if any(given.get(key) is not None for key in _CHOSEN):
        return {"robust": robust, **given}
    values = loaded[name].values
    shown = np.isfinite(values)
    if not shown.any():
        return dict(given)
    if robust:
        known = well_known(loaded, record, name.removesuffix("_stderr") if _is_error(loaded, name) else name) & shown
        low, high = np.percentile(values[known if known.any() else shown].astype(float), PERCENTILES)
    else:
        low, high = values[shown].min(), values[shown].max()
    if _is_error(loaded, name):
        low = 0.0  # how far errors differ is then seen from the colours
    if not low < high:
        return dict(given)
    both = low < 0 < high
    if both and (_diverges(given.get("cmap")) or min(-low, high) > 0.2 * max(-low, high)):  # not by noise alone
        high = max(-low, high)
        return {"vmin": -high, "vmax": high, "cmap": xr.get_options()["cmap_divergent"], **given}
    return {"vmin": low, "vmax": high, **given}


def _is_error(loaded: xr.Dataset, name: str) -> bool:
    return name.endswith("_stderr") and name.removesuffix("_stderr") in loaded


def _diverges(cmap: Any) -> bool:
    """Whether a colour map has a middle, which is to be zero."""
    name = cmap if isinstance(cmap, str) else getattr(cmap, "name", "")
    return str(name).removesuffix("_r") in _DIVERGING


def well_known(loaded: xr.Dataset, record: FitRecord, name: str) -> np.ndarray:
    """Where the value of a variable is to be trusted; everywhere if that can hardly be said of any.

    The amplitude of its part of the model is at least five times its error, and its own error is at most five times
    that of the best tenth.
    """
    finite = np.isfinite(loaded[name].values)
    parameter = name.removeprefix(record.prefix).removesuffix("_stderr")
    known = finite.copy()
    amplitude = dict(_amplitudes(record)).get(parameter)
    if amplitude is not None and (size := loaded.get(record.variable(amplitude))) is not None:
        error = loaded.get(f"{size.name}_stderr")
        if error is not None:
            known &= np.abs(size.values) >= SIGNIFICANT * error.values
    error = loaded.get(f"{name}_stderr")
    if error is not None:
        measured = known & (error.values > 0)
        if measured.any():
            known = measured & (error.values <= SPREAD * np.percentile(error.values[measured], 10))
    return known if known.sum() >= max(3, 0.02 * finite.sum()) else finite


def _amplitudes(record: FitRecord) -> Iterator[tuple[str, str]]:
    """For each parameter the amplitude, if any, of the part of the model that it belongs to."""
    for part in parts_of(record):
        if (amplitude := part.amplitude) is not None:
            yield from ((full, amplitude) for full in part.names.values() if full != amplitude)
