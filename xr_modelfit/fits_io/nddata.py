"""NDData, CCDData and NDCube as labelled arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.io import fits

from xr_modelfit.fits_io.file_arrays import transformed
from xr_modelfit.fits_io.hdus import Role
from xr_modelfit.fits_io.headers import with_wcs
from xr_modelfit.fits_io.reading import ABOUT_ERRORS, ABOUT_GOOD, array_or_dataset, observation
from xr_modelfit.fits_io.units import unit_attrs
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
    known = all(hasattr(nddata, key) for key in ("data", "unit", "uncertainty", "mask", "wcs"))
    if not known or isinstance(nddata, xr.DataArray):
        raise TypeError(f"nddata is {a(nddata)}; pass an NDData, a CCDData, or an NDCube.")
    data, meta = nddata.data, getattr(nddata, "meta", None)
    shape = tuple(data.shape)
    if nddata.wcs is None:
        grid = PixelGrid(None, (0,) * len(shape), tuple(reversed(shape)))
    else:
        grid = PixelGrid.of(nddata.wcs, shape)
    header = meta if isinstance(meta, fits.Header) else None
    coords = labelled(grid, header=None if header is None else with_wcs(header, grid.wcs))
    dims = tuple(coords.dims)[: len(shape)]
    units = _text(nddata.unit)
    variables = {name: xr.Variable(dims, data, unit_attrs(units))}
    if nddata.uncertainty is not None:
        variables[f"{name}_sigma"] = _sigma(nddata.uncertainty, dims, units)
    if nddata.mask is not None and nddata.mask is not np.ma.nomask:
        mask = nddata.mask if np.ndim(nddata.mask) else np.full(shape, bool(nddata.mask))
        variables[f"{name}_good"] = xr.Variable(dims, transformed(mask, Role.FLAGS), ABOUT_GOOD)
    if len(variables) > 1:
        variables[name].attrs["ancillary_variables"] = " ".join(list(variables)[1:])
    about = observation(header) if header is not None else _simple(meta)
    return array_or_dataset(xr.Dataset(variables, coords, about))


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
    return xr.Variable(dims, transformed(uncertainty.array, role), unit_attrs(units) | ABOUT_ERRORS)


def _text(unit: Any) -> str:
    return "" if unit in (None, u.dimensionless_unscaled) else write_unit(unit)


def _simple(meta: Any) -> dict[str, Any]:
    """What of a mapping can be an attr: text and numbers."""
    return {
        key: value
        for key, value in (meta.items() if isinstance(meta, Mapping) else ())
        if isinstance(key, str) and key.isidentifier() and key != "units"
        if isinstance(value, str | int | float | np.number) and not isinstance(value, bool)
    }
