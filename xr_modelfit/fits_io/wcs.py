"""World coordinates of an array, labelled: from any WCS to dims and coordinates.

Numbers are always those of ``wcs.array_index_to_world_values``; here it is decided what depends on
what, and what it is called. A WCS counts its pixel axes in FITS order, an array the other way round.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import xarray as xr
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.wcsapi import BaseHighLevelWCS, BaseLowLevelWCS
from astropy.wcs.wcsapi.wrappers import SlicedLowLevelWCS
from xarray.backends import BackendArray
from xarray.core import indexing

from xr_modelfit.execution.lazy_arrays import kept
from xr_modelfit.fits_io.headers import FRAME, HEADER, LOOKUP
from xr_modelfit.fits_io.world_axes import WorldAxis, pixel_names, unique, world_axis
from xr_modelfit.messages import a, listed

__all__ = ["PIXEL_AXIS", "WORLD_AXIS", "PixelGrid", "coords_from_wcs", "labelled"]

PIXEL_AXIS = "fits_pixel_axis"  # attrs of an index: the FITS axis whose pixels it numbers,
WORLD_AXIS = "fits_world_axis"  # unless it is this world coordinate along it


def coords_from_wcs(wcs: Any, shape: Sequence[int], *, dims: Sequence[Hashable] | None = None) -> xr.Coordinates:
    """Labelled coordinates of an array with a WCS.

    A world axis that depends on one array axis, and shares it with no other, becomes a dim of its
    own name with a 1-D index: ``velocity``, ``wavelength``, ``frequency``, ``energy``, ``time``,
    ``stokes``, ... Axes that depend on each other, as right ascension and declination do, become
    coordinates on pixel dims ``y`` and ``x``, whose index is the pixel number, from 0.

    Parameters
    ----------
    wcs : astropy.wcs.WCS or any WCS of astropy's shared interface (APE 14)
        A sliced one gives the pixel numbers of the whole, and scalar coordinates for what was
        sliced away.
    shape : sequence of int
        Of the array, in the array's order.
    dims : sequence of Hashable, optional
        Names of the array's dims, instead of those that the WCS tells.

    Returns
    -------
    xarray.Coordinates
        With ``units`` and ``long_name``. Of a FITS WCS, the scalar coordinate ``wcs`` keeps the
        header, rest frequency and frames in its attrs.

    Raises
    ------
    TypeError
        ``wcs`` is not a WCS.
    ValueError
        ``shape`` or ``dims`` are not as many as the WCS has pixel axes.

    Examples
    --------
    >>> from astropy.wcs import WCS
    >>> wcs = WCS(naxis=3)
    >>> wcs.wcs.ctype = "RA---TAN", "DEC--TAN", "FREQ"
    >>> wcs.wcs.cdelt = -0.01, 0.01, 1e6
    >>> wcs.wcs.crval = 40, 30, 1.4e9
    >>> coords = coords_from_wcs(wcs, (3, 4, 5))
    >>> tuple(coords.dims)
    ('frequency', 'y', 'x')
    >>> coords["ra"].dims, coords["ra"].attrs["units"]
    (('y', 'x'), 'degree')
    >>> coords["frequency"].values
    array([1.401e+09, 1.402e+09, 1.403e+09])
    """
    return labelled(PixelGrid.of(wcs, _checked_shape(shape)), dims)


@dataclass(frozen=True)
class PixelGrid:
    """Which pixels of a WCS the elements of an array are."""

    wcs: BaseLowLevelWCS | None  # None: the array has no WCS
    start: tuple[int, ...]  # number of the first pixel along each axis, from 0, in FITS order
    length: tuple[int | None, ...]  # None: the array has no such axis, and is at ``start`` there

    @classmethod
    def of(cls, wcs: Any, shape: tuple[int, ...]) -> "PixelGrid":
        """The grid of an array. For a sliced WCS, pixels are numbered as in the whole."""
        low = wcs.low_level_wcs if isinstance(wcs, BaseHighLevelWCS) else wcs
        if not isinstance(low, BaseLowLevelWCS):
            raise TypeError(
                f"wcs is {a(wcs)}; pass a WCS: astropy.wcs.WCS(header), or another one of astropy's shared interface."
            )
        if low.pixel_n_dim != len(shape):
            raise ValueError(
                f"shape is {shape}, of {len(shape)} axes, but the WCS has {low.pixel_n_dim} pixel axes. Pass the shape "
                "of the array that the WCS is of, or slice the WCS first: wcs[0], or wcs.celestial."
            )
        whole, cuts = low, [slice(None)] * len(shape)
        if isinstance(low, SlicedLowLevelWCS):  # only private attributes tell what was cut; ndcube reads the same two
            whole, cuts = getattr(low, "_wcs", whole), getattr(low, "_slices_pixel", cuts)
        if isinstance(whole, WCS):
            whole = whole.deepcopy()  # later changes by the user must not affect lazy coordinates
        sizes = iter(reversed(shape))
        start = tuple(int(c) if isinstance(c, Integral) else int(c.start or 0) for c in cuts)
        return cls(whole, start, tuple(None if isinstance(c, Integral) else next(sizes) for c in cuts))

    @property
    def axes(self) -> list[int]:
        """The pixel axes of the array, in the array's order."""
        return [k for k in reversed(range(len(self.length))) if self.length[k] is not None]

    def pixels(self, k: int) -> np.ndarray:
        """Pixel numbers along one axis of the array, from 0."""
        return np.arange(self.start[k], self.start[k] + (self.length[k] or 0))

    def correlation(self) -> np.ndarray:
        """Which world axis depends on which pixel axis: bool, shape (world axes, pixel axes)."""
        if self.wcs is None:
            return np.zeros((0, len(self.length)), dtype=bool)
        matrix = np.array(self.wcs.axis_correlation_matrix, dtype=bool)
        if isinstance(self.wcs, WCS):
            types = self.wcs.wcs.axis_types
            for group in {t // 10 % 10 for t in types if t // 100 % 10 == 5}:  # axes of one lookup table
                together = [i for i, t in enumerate(types) if t // 100 % 10 == 5 and t // 10 % 10 == group]
                matrix[together] |= matrix[together].any(axis=0)
        return np.pad(matrix, ((0, 0), (0, len(self.length) - matrix.shape[1])))

    def dependencies(self) -> np.ndarray:
        """Which world axis depends on which axis of the array, with the other pixel axes fixed."""
        return self.correlation() & np.array([n is not None for n in self.length], dtype=bool)

    def world(self, i: int, at: Mapping[int, np.ndarray]) -> np.ndarray:
        """Values of world axis ``i`` at pixel numbers by axis, broadcast; elsewhere at the start."""
        assert self.wcs is not None
        pixels = [at.get(k, np.array(self.start[k])) for k in range(self.wcs.pixel_n_dim)]
        values = self.wcs.pixel_to_world_values(*np.broadcast_arrays(*(np.asarray(p, dtype=float) for p in pixels)))
        return np.asarray(values if self.wcs.world_n_dim == 1 else values[i], dtype=float)


class _WorldArray(BackendArray):
    """A world coordinate along several axes, computed where it is read."""

    def __init__(self, grid: PixelGrid, i: int, axes: tuple[int, ...]) -> None:
        self.grid, self.i, self.axes = grid, i, axes
        self.shape = tuple(grid.pixels(k).size for k in axes)
        self.dtype = np.dtype(float)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self.read)

    def read(self, key: tuple[Any, ...]) -> np.ndarray:
        pixels = [self.grid.pixels(k)[part] for k, part in zip(self.axes, key, strict=True)]
        mesh = np.meshgrid(*pixels, indexing="ij")
        values = self.grid.world(self.i, dict(zip(self.axes, mesh, strict=True)))
        return values.reshape([p.size for p in pixels if np.ndim(p)])


def labelled(
    grid: PixelGrid, dims: Sequence[Hashable] | None = None, header: fits.Header | None = None
) -> xr.Coordinates:
    """Coordinates of the array that ``grid`` describes, those of its dims first, in the array's order."""
    depends = grid.dependencies()
    described = [world_axis(grid.wcs, i) for i in range(len(depends))]
    own = _own_axes(grid, depends, described)
    names = _dim_names(grid, described, own, dims)
    coords: dict[Hashable, Any] = {}
    for k in grid.axes:
        if k in own:
            coords[names[k]] = _coordinate(grid, own[k], depends, names, described[own[k]])
            coords[names[k]].attrs |= {PIXEL_AXIS: k + 1, WORLD_AXIS: own[k] + 1}
        else:
            coords[names[k]] = xr.Variable([names[k]], grid.pixels(k), _pixel_attrs(k))
    for i, axis in enumerate(described):
        if i not in own.values() and not _only_counts_pixels(grid, i, axis, depends):
            name = unique(axis.name or f"world_{i + 1}", [*map(str, coords), FRAME])
            coords[name] = _coordinate(grid, i, depends, names, axis)
    needed = np.atleast_1d(grid.correlation()[depends.any(axis=1)].any(axis=0))
    for k, n in enumerate(grid.length):  # the one pixel along an axis that the array lacks, as after isel(y=3)
        if n is None and needed[k]:
            coords[unique(str(names[k]), [*map(str, coords), FRAME])] = xr.Variable([], grid.start[k], _pixel_attrs(k))
    if (frame := _frame(grid.wcs, header)) is not None:
        coords[FRAME] = frame
    return xr.Coordinates(coords)


def _pixel_attrs(k: int) -> dict[str, Any]:
    return {"long_name": f"pixel number along FITS axis {k + 1}", PIXEL_AXIS: k + 1}


def _coordinate(
    grid: PixelGrid, i: int, depends: np.ndarray, names: Mapping[int, Hashable], axis: WorldAxis
) -> xr.Variable:
    """A world coordinate: a scalar, along one dim, or over several."""
    axes = tuple(k for k in grid.axes if depends[i, k])
    array = _WorldArray(grid, i, axes)
    # Two float64 sky coordinates are larger than their image, so they are computed when first used.
    lazy = len(axes) > 1 and isinstance(grid.wcs, WCS) and not grid.wcs.wcs.tab
    data = kept(array) if lazy else array.read((slice(None),) * len(axes))
    return xr.Variable([names[k] for k in axes], data, axis.attrs)


def _own_axes(grid: PixelGrid, depends: np.ndarray, described: list[WorldAxis]) -> dict[int, int]:
    """By pixel axis: the world axis that depends on it alone, if no other world axis does."""
    own = {}
    for k in grid.axes:
        rows = np.flatnonzero(depends[:, k])
        i = int(rows[0]) if len(rows) == 1 else -1
        if i >= 0 and depends[i].sum() == 1 and not _only_counts_pixels(grid, i, described[i], depends):
            own[k] = i
    return own


def _only_counts_pixels(grid: PixelGrid, i: int, axis: WorldAxis, depends: np.ndarray) -> bool:
    """Whether a world axis without name or unit only counts pixels, from 0 or from 1."""
    axes = np.flatnonzero(depends[i])
    if axis.name is not None or axis.unit is not None or len(axes) > 1:
        return False
    if len(axes) == 0:
        return True
    pixels = grid.pixels(int(axes[0]))
    values = grid.world(i, {int(axes[0]): pixels})
    return np.array_equal(values, pixels) or np.array_equal(values, pixels + 1.0)


def _dim_names(
    grid: PixelGrid, described: list[WorldAxis], own: Mapping[int, int], dims: Sequence[Hashable] | None
) -> dict[int, Hashable]:
    """Name of the dim along each pixel axis, including axes that the array lacks."""
    axes = grid.axes
    # What was sliced away counts too: what is left of y and x is still one of them.
    pixels = pixel_names(grid.wcs, len(grid.length), grid.correlation())
    names: dict[int, Hashable] = {k: name for k, name in enumerate(pixels) if k not in own}
    if dims is not None:
        asked = [dims] if isinstance(dims, str) else list(dims)
        if len(asked) != len(axes) or len(set(asked)) != len(asked):
            sizes = tuple(grid.length[k] for k in axes)
            raise ValueError(
                f"dims is {dims!r}; the array has the shape {sizes}: pass {len(axes)} different names, in its order."
            )
        return names | dict(zip(axes, asked, strict=True))
    for k in reversed(axes):
        if k in own:
            names[k] = unique(described[own[k]].name or f"axis_{k + 1}", [*map(str, names.values()), FRAME])
    return names


def _frame(wcs: BaseLowLevelWCS | None, header: fits.Header | None) -> xr.Variable | None:
    """The scalar coordinate that keeps what is common to all axes; attrs are text and numbers."""
    if header is None and not isinstance(wcs, WCS):
        return None
    attrs: dict[str, Any] = {"long_name": "world coordinate system"}
    if isinstance(wcs, WCS):
        core = wcs.wcs
        attrs |= {key: value for key, value in (("radesys", core.radesys), ("specsys", core.specsys)) if value}
        if np.isfinite(core.equinox):
            attrs["equinox"] = float(core.equinox)
        if core.restfrq:
            attrs |= {"rest_frequency": float(core.restfrq), "rest_frequency_units": "Hz"}
        if core.restwav:
            attrs |= {"rest_wavelength": float(core.restwav), "rest_wavelength_units": "m"}
        if any((wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2)):
            attrs[LOOKUP] = "distortion"  # not in the header
        if header is None:
            header = wcs.to_header(relax=True)
    assert header is not None
    attrs[HEADER] = header.tostring(sep="\n", endcard=False, padding=False)
    return xr.Variable([], np.int8(0), attrs)


def _checked_shape(shape: Any) -> tuple[int, ...]:
    if isinstance(shape, str) or not isinstance(shape, Sequence | np.ndarray):
        raise TypeError(f"shape is {a(shape)}; pass the shape of the array, its array.shape.")
    found = tuple(shape)
    if not all(isinstance(n, int | np.integer) and n >= 0 for n in found):
        raise ValueError(f"shape is {listed(found)}; pass the numbers of elements along each axis, its array.shape.")
    return tuple(int(n) for n in found)
