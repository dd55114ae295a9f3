"""Which fits of a result mean something: forwards, nothing else."""

from __future__ import annotations

from collections.abc import Iterable

import xarray as xr

from xr_modelfit.results import significance
from xr_modelfit.results.selection import one_fit

__all__ = ["SignificanceMethods"]


class SignificanceMethods:
    """Ask which fits are significant."""

    _obj: xr.Dataset

    def significant(
        self, params: str | Iterable[str] | None = None, *, snr: float = significance.SNR, data: str | None = None
    ) -> xr.DataArray:
        """Where a fit is significant: known well enough to mean something.

        A fit to noise converges too, and counts as ``ok``. This is a second question. The result
        itself is not changed: use ``fit.where(fit.modelfit.significant())`` to leave out the rest.

        Parameters
        ----------
        params : str or iterable of str, optional
            Parameters that have to differ from zero by at least ``snr`` times their errors.
            Default: the amplitude of each part of the model, apart from constants.
        snr : float
            The least ratio of a value to its error.
        data : str, optional
            Which fit of a result of several: the name of the variable that was fitted.

        Returns
        -------
        xarray.DataArray
            bool, over the remaining dims; ``comment`` in its attrs states the rule. Where a part has
            a position and a width, the position has to lie within the range of the coordinate, and
            the full width at half maximum between one step and the whole range. Fixed positions and
            widths are not judged, nor coordinates that are lazy or have several dims. Lazy where the
            result is.

        Raises
        ------
        ValueError
            A name is no parameter, ``snr`` is not positive, or the model has no amplitude and
            nothing is named.
        RecordError
            The Dataset does not say enough about its fit.

        Examples
        --------
        >>> from astropy.modeling.models import Gaussian1D
        >>> from xr_modelfit import tutorial
        >>> cube = tutorial.line_cube((6, 8))
        >>> fit = cube.modelfit(Gaussian1D(1, 4500, 500), dim="velocity", sigma=0.1, errors="ignore")
        >>> good = fit.modelfit.significant(snr=5)
        >>> int(fit.modelfit.ok.sum()) > int(good.sum()) > 0
        True
        >>> good.attrs["comment"].split("; ")[1]
        '|amplitude| >= 5 amplitude_stderr'
        """
        return significance.significant(self._obj, one_fit(self._obj, data, params), params, snr)
