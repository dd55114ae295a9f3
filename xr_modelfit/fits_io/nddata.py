"""NDData, CCDData and NDCube as labelled arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS

from xr_modelfit.fits_io.file_arrays import transformed
from xr_modelfit.fits_io.hdus import Role
from xr_modelfit.fits_io.headers import without_wcs
from xr_modelfit.fits_io.reading import observation
from xr_modelfit.fits_io.wcs import PixelGrid, labelled
from xr_modelfit.messages import a
from xr_modelfit.units.text import write_unit

__all__ = ["from_nddata"]

_ROLES = {"std": Role.SIGMA, "var": Role.VARIANCE, "ivar": Role.INVERSE_VARIANCE}


def from_nddata(nddata: Any, *, name: str = "data") -> xr.DataArray | xr.Dataset:
    """An NDData, CCDData or NDCube as a labelled array, with the coordinates of its WCS.

    Parameters
    ----------
    nddata : astropy.nddata.NDData or alike
        Anything with ``data``, ``unit``, ``uncertainty``, ``mask``, ``wcs`` and ``meta``. Its
        numbers are not copied.
    name : str, default "data"
        Of the data.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        A Dataset where there are errors, as ``<name>_sigma``, or a mask: ``<name>_good`` is True
        where it is False. ``units`` are those of ``unit``. Without WCS, dims are ``y`` and ``x``,
        ``z`` before them, numbered from 0. Text and numbers of ``meta`` become attrs; of a FITS
        header, the few that tell what was observed do, and ``wcs`` keeps it.

    Raises
    ------
    TypeError
        ``nddata`` is nothing of the kind, or does not say what its uncertainty is.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import NDData, VarianceUncertainty
    >>> image = NDData(np.ones((2, 3)), unit="Jy", uncertainty=VarianceUncertainty(np.full((2, 3), 4.0)))
    >>> labelled = from_nddata(image, name="flux")
    >>> list(labelled), labelled["flux"].dims
    (['flux', 'flux_sigma'], ('y', 'x'))
    >>> labelled["flux_sigma"].values.max().item(), labelled["flux_sigma"].attrs["units"]
    (2.0, 'Jy')
    """
    if not all(hasattr(nddata, key) for key in ("data", "unit", "uncertainty", "mask", "wcs")) or isinstance(
        nddata, xr.DataArray
    ):
        raise TypeError(f"nddata is {a(nddata)}; pass an NDData, a CCDData, or an NDCube.")
    data, meta = nddata.data, getattr(nddata, "meta", None)
    shape = tuple(data.shape)
    header = meta if isinstance(meta, fits.Header) else None
    if nddata.wcs is None:
        grid = PixelGrid(None, (0,) * len(shape), tuple(reversed(shape)))
    else:
        grid = PixelGrid.of(nddata.wcs, shape)
    kept = without_wcs(header) if header is not None else None
    if kept is not None and isinstance(grid.wcs, WCS):
        kept.update(grid.wcs.to_header(relax=True))
    coords = labelled(grid, header=kept)
    dims = tuple(coords.dims)[: len(shape)]
    units = _text(nddata.unit)
    variables = {name: xr.Variable(dims, data, {"units": units} if units else {})}
    if nddata.uncertainty is not None:
        variables[f"{name}_sigma"] = _sigma(nddata.uncertainty, dims, units)
    if nddata.mask is not None and nddata.mask is not np.ma.nomask:
        mask = nddata.mask if np.ndim(nddata.mask) else np.full(shape, bool(nddata.mask))
        attrs = {"long_name": "True where the data can be used"}
        variables[f"{name}_good"] = xr.Variable(dims, transformed(mask, Role.FLAGS), attrs)
    if len(variables) > 1:
        variables[name].attrs["ancillary_variables"] = " ".join(list(variables)[1:])
    attrs = observation(header) if header is not None else _simple(meta)
    result = xr.Dataset(variables, coords, attrs)
    if len(variables) > 1:
        return result
    array = result[name]
    array.attrs = attrs | array.attrs
    return array


def _sigma(uncertainty: Any, dims: tuple[Any, ...], units: str) -> xr.Variable:
    """Standard errors of whichever kind of uncertainty."""
    role = _ROLES.get(uncertainty.uncertainty_type)
    if role is None:
        raise TypeError(
            f"The uncertainty is {a(uncertainty)}, which does not say what its numbers are. Replace it: "
            "StdDevUncertainty(nddata.uncertainty.array), or VarianceUncertainty or InverseVariance, of astropy.nddata."
        )
    if uncertainty.unit is not None:
        power = {Role.SIGMA: 1, Role.VARIANCE: 0.5, Role.INVERSE_VARIANCE: -0.5}[role]
        units = _text(uncertainty.unit**power)
    attrs = ({"units": units} if units else {}) | {"long_name": "standard error of the data"}
    return xr.Variable(dims, transformed(uncertainty.array, role), attrs)


def _text(unit: Any) -> str:
    return "" if unit in (None, u.dimensionless_unscaled) else write_unit(unit)


def _simple(meta: Any) -> dict[str, Any]:
    """What of a mapping can be an attr: text and numbers."""
    if not isinstance(meta, Mapping):
        return {}
    kept = {key: value for key, value in meta.items() if isinstance(key, str) and key.isidentifier()}
    return {
        key: value
        for key, value in kept.items()
        if isinstance(value, str | int | float | np.number) and not isinstance(value, bool) and key != "units"
    }
