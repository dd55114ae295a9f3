"""A covariance of the noise of samples, matched to the data by name."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from xr_modelfit.fitters.correlated.covariances import factor_of
from xr_modelfit.labels.coords import Labels, bare

__all__ = ["OTHER", "covariance_of"]

OTHER = "_modelfit_other"


def covariance_of(labels: Labels, array: xr.DataArray, dim: Hashable) -> xr.Variable:
    """A covariance over the fitted ``dim`` and a second one, which becomes `OTHER`, the last of the dims.

    Raises
    ------
    TypeError
        It holds no real numbers.
    ValueError
        Its dims, lengths or indexes do not match, or one for all fits, which is in memory, is not symmetric and
        positive definite.
    """
    if array.dtype.kind not in "iuf":
        raise TypeError(f"noise holds {array.dtype}; real numbers are needed.")
    own = [d for d in array.dims if d not in labels.data.dims]
    if len(own) != 1 or dim not in array.dims:
        raise ValueError(
            f"noise has dims {array.dims}; a covariance has the fitted dim {dim!r}, and a second one of another name "
            f"for the second sample: xr.DataArray(matrix, dims=({dim!r}, {f'{dim}_2'!r})). It may also have those of "
            f"the remaining dims, {tuple(d for d in labels.data.dims if d != dim)}. Standard errors go to sigma=."
        )
    (other,) = own
    n = labels.data.sizes[dim]
    if array.sizes[other] != n:
        raise ValueError(
            f"noise has {array.sizes[other]} positions along {other!r}, the data {n} along {dim!r}; a covariance has a "
            "row and a column for each sample."
        )
    theirs, ours = array.indexes.get(other), labels.data.indexes.get(dim)
    if theirs is not None and ours is not None and not ours.equals(theirs):
        raise ValueError(
            f"noise has other labels along {other!r} than the data along {dim!r}. Put them in the same order, or drop "
            f"them: noise.drop_vars({str(other)!r})."
        )
    bare(labels.data, array.isel({other: 0}, drop=True), "noise", labels.data.dims)
    found = array.transpose(..., dim, other).variable
    if found.ndim == 2 and found._in_memory and n:
        _require_valid(np.asarray(found.values, dtype=float))
    return xr.Variable([OTHER if d == other else d for d in found.dims], found.data)


def _require_valid(matrix: np.ndarray) -> None:
    """Refuse a covariance for all fits that has no Cholesky factor. Samples whose variance is NaN are left out."""
    used = np.isfinite(np.diagonal(matrix))
    if not used.any():
        raise ValueError("noise has no finite variance along its diagonal. Give the covariance of the samples.")
    matrix = matrix[np.ix_(used, used)]
    if factor_of(matrix) is not None:
        return
    if not np.all(np.isfinite(matrix)):
        what = "has values that are NaN or infinite beside finite variances"
    elif np.any(np.abs(matrix - matrix.T) > 1e-8 * np.max(np.abs(matrix))):
        what = f"is not symmetric: it differs from its transpose by up to {np.max(np.abs(matrix - matrix.T)):.3g}"
    else:
        lowest = np.linalg.eigvalsh(0.5 * (matrix + matrix.T))[0]
        what = f"is not positive definite: its smallest eigenvalue is {lowest:.3g}"
    raise ValueError(
        f"noise {what}; a covariance of noise is symmetric and positive definite. Add the variance of independent "
        "noise to its diagonal, or correct it."
    )
