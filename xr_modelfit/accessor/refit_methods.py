"""Fits again at some positions of a result: forwards, nothing else."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from typing import Any

import xarray as xr

from xr_modelfit.models.function_models import ModelArg
from xr_modelfit.refits import refit as refits

__all__ = ["RefitMethods"]


class RefitMethods:
    """Fit where a fit failed, from other starts."""

    _obj: xr.Dataset

    def refit(
        self,
        obj: xr.DataArray | xr.Dataset,
        where: xr.DataArray | str | None = None,
        p0: Any = "neighbours",
        *,
        data: str | None = None,
        model: ModelArg | None = None,
        samples: Any = None,
        dims: Any = None,
        radius: int = 2,
        neighbours: int = 3,
        rounds: int = 5,
        **options: Any,
    ) -> xr.Dataset:
        """Fit some positions again, from other starts, and keep the better answer of each.

        A new answer is taken where it converged and the old one failed, or has a higher chi-square (with a loss, what
        stands for it; with priors, their share included).

        Parameters
        ----------
        obj : DataArray or Dataset
            The data that was fitted.
        where : DataArray of bool or "suspicious", optional
            Positions to fit again, over the remaining dims. Default: those that failed. "suspicious": also those
            where a parameter is further from the median of its good neighbours than five times their scatter, and
            than five times its own standard error or, where that is less, fifteen times theirs.
        p0 : optional
            "neighbours": the parameters of the nearest good neighbours; of several, the start with the lowest
            chi-square counts. Neighbours that succeeded but are fitted again themselves serve where there is no
            better one; without any, a fit starts where it did, or where it first did if it had maps of starts.
            Or anything that `xr_modelfit.fit` takes: "estimate", "mean", "coarse", values, an earlier result, a
            function, a list. "mean" and "coarse" are of all positions.
        data : str, optional
            Which fit of a result of several: the name of the variable that was fitted.
        model : astropy.modeling.Model or callable, optional
            The model or function that was fitted, where the record alone cannot give it.
        samples : DataArray or name, optional
            The mask of samples that the fit had as ``where``.
        dims : str or sequence of str, optional
            Dims along which positions are neighbours. Default: all remaining dims.
        radius : int
            How far a neighbour may be, in positions.
        neighbours : int
            At most so many neighbours are tried.
        rounds : int
            At most so often: fits that succeed are neighbours in the next round. A computed refit ends when nothing
            gets better.
        **options
            Those of the fit that its record does not hold: ``sigma`` and ``weights`` that were no single number,
            ``exposure``, ``upper_limit``, ``coord_sigma``, ``bounds`` or ``priors`` that are maps, ``integrate``,
            ``response``, ``fitter`` where it is one of astropy. Values of fixed parameters that differ from fit to fit
            are those of the result (of ``<parameter>_start``, where the fit kept these).

        Returns
        -------
        xarray.Dataset
            The result with the better answers, and ``refit_round``: the round of each answer, 0 for that of the
            fit. Lazy if the result or the data is.

        Raises
        ------
        RecordError
            The Dataset does not say enough about its fit.
        ValueError, TypeError
            Something that the fit had is missing, or an argument does not match; nothing has been fitted.

        Examples
        --------
        >>> from astropy.modeling.models import Gaussian1D
        >>> from xr_modelfit import tutorial
        >>> cube = tutorial.line_cube((6, 8))
        >>> fit = cube.modelfit(Gaussian1D(1, 4000, 300), dim="velocity", errors="ignore")
        >>> better = fit.modelfit.refit(cube)
        >>> int(better.modelfit.ok.sum()) >= int(fit.modelfit.ok.sum())
        True
        """
        return refits.refit(
            self._obj, obj, where, p0, data=data, model=model, samples=samples, dims=dims, radius=radius,
            neighbours=neighbours, rounds=rounds, given=options,
        )  # fmt: skip
