"""The competitors of ``compare.py``: each fits a case and returns its free parameters, shape (k, n_fits).

All start from the values of the case's model, and have their own defaults for everything else. A fit of which a
competitor itself says that it failed is NaN.
"""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from agreement import SHARE, needed
from astropy.modeling.fitting import LevMarLSQFitter, TRFLSQFitter, parallel_fit_dask
from cases import Case
from scipy.optimize import leastsq

from xr_modelfit import BatchLSQFitter, fit


class LeftOut(Exception):
    """A competitor cannot do a case, for a reason that is known."""


@dataclass(frozen=True)
class Competitor:
    name: str
    maps: Callable[[Case], np.ndarray]
    most: int  # fits in a full run; slow ones get some positions of the same array
    own: bool = False  # a row of this package
    needed: float = SHARE  # of its fits have to be those of the reference
    slow: bool = False  # at most three runs
    clips: bool = False  # known to miss minima on bounds: that its answers differ there is no failure
    forget: Callable[[], None] | None = None  # makes it compile again: its first call has a row of its own


def engines() -> Iterator[tuple[str, str]]:
    """The engines of this package that are there, each with what is wrong with it, or nothing."""
    yield "numpy", ""
    try:
        BatchLSQFitter(engine="numba")
    except (ValueError, ImportError) as error:
        yield "numba", str(error)
        return
    yield "numba", "" if importlib.util.find_spec("numba") else "numba is not installed"


def result(case: Case, engine: str, **options: object) -> xr.Dataset:
    return fit(
        case.data,
        case.model,
        case.dim,
        coords=dict(zip(case.model.inputs, case.dim, strict=True)),
        sigma=case.sigma,
        fitter=BatchLSQFitter(engine=engine),
        errors="ignore",
        **options,
    )


def parameters(case: Case, fitted: xr.Dataset) -> np.ndarray:
    return np.stack([fitted[name].values for name in case.free])


def computed(engine: str) -> Callable[[Case], np.ndarray]:
    def maps(case: Case) -> np.ndarray:
        with refusals(engine):
            return parameters(case, result(case, engine))

    return maps


@contextmanager
def refusals(engine: str) -> Iterator[None]:
    """That numba does not compile a model is no fault of the comparison."""
    try:
        yield
    except ValueError as error:
        if engine != "numba":
            raise
        raise LeftOut(str(error)) from error


def lazy(engine: str) -> Callable[[Case], np.ndarray]:
    """In four chunks, or of 50 000 positions where these are smaller."""

    def maps(case: Case) -> np.ndarray:
        chunks = {"position": min(50_000, -(-case.n_fits // 4))}
        sigma = None if case.sigma is None else case.sigma.chunk(chunks)
        chunked = replace(case, data=case.data.chunk(chunks), sigma=sigma)
        with refusals(engine):
            return parameters(case, result(chunked, engine).compute())

    return maps


def parallel(fitter: type, scheduler: str) -> Callable[[Case], np.ndarray]:
    """``parallel_fit_dask``; a NaN would spoil its fit, masked or not, so gaps are masked zeros."""

    def maps(case: Case) -> np.ndarray:
        data = case.data.transpose(*case.dim, "position").values
        gaps = np.isnan(data)
        weights = None if case.sigma is None else 1 / case.sigma.transpose(*case.dim, "position").values
        fitted = parallel_fit_dask(
            model=case.model,
            fitter=fitter(),
            data=np.where(gaps, 0, data) if gaps.any() else data,
            mask=gaps if gaps.any() else None,
            weights=weights,
            world=tuple(case.data[d].values for d in case.dim),
            fitting_axes=tuple(range(len(case.dim))) if len(case.dim) > 1 else 0,
            scheduler=scheduler,
        )
        return np.stack([np.asarray(getattr(fitted, name).value) for name in case.free])

    return maps


def curvefit(case: Case) -> np.ndarray:
    """``DataArray.curvefit``: the free parameters, bounds where the case has them."""
    if case.sigma is not None:
        raise LeftOut("curvefit takes no errors that differ from position to position")

    def function(x: np.ndarray, *p: float) -> np.ndarray:
        return case.curve(np, (x,) if len(case.dim) == 1 else tuple(x), p)

    fitted = case.data.curvefit(
        [case.data[d] for d in case.dim],
        function,
        reduce_dims=list(case.dim),
        p0=case.start,
        bounds=case.bounds or None,
        param_names=case.free,
        errors="ignore",
    )
    return fitted["curvefit_coefficients"].transpose("param", "position").values


def polyfit(case: Case) -> np.ndarray:
    if case.name.split("-")[0] != "trend":
        raise LeftOut("polyfit fits polynomials")
    fitted = case.data.polyfit(case.dim[0], 1)
    return fitted["polyfit_coefficients"].transpose("degree", "position").values


def loop(derivatives: bool) -> Callable[[Case], np.ndarray]:
    """``scipy.optimize.leastsq`` on one position after the other, with its own derivatives or with astropy's."""

    def maps(case: Case) -> np.ndarray:
        if case.bounds:
            raise LeftOut("leastsq knows no bounds")
        inputs = case.inputs()
        y, w = case.rows()
        start = np.array(list(case.start.values()))
        slopes = jacobian(case) if derivatives else None
        out = np.full((len(start), len(y)), np.nan)
        for i in range(len(y)):
            there = np.flatnonzero(w[i])
            sampled = [x[there] for x in inputs]
            arguments = (sampled, y[i, there], w[i, there])

            def residual(p: np.ndarray, x: list[np.ndarray], y: np.ndarray, w: np.ndarray) -> np.ndarray:
                return w * (case.curve(np, x, p) - y)

            p, code = leastsq(residual, start, args=arguments, Dfun=slopes, col_deriv=derivatives)
            if code in (1, 2, 3, 4):
                out[:, i] = p
        return out

    return maps


def jacobian(case: Case) -> Callable[..., np.ndarray]:
    """Derivatives of the residual by the free parameters, from those of each part of the model."""
    model = case.model
    parts = [model[i] for i in range(model.n_submodels)] if model.n_submodels > 1 else [model]
    free = [not model.fixed[name] for name in model.param_names]
    values = np.array(model.parameters)

    def slopes(p: np.ndarray, x: list[np.ndarray], y: np.ndarray, w: np.ndarray) -> np.ndarray:
        values[free] = p
        rows, at = [], 0
        for part in parts:
            k = len(part.param_names)
            rows += [np.broadcast_to(row, y.shape) for row in part.fit_deriv(*x, *values[at : at + k])]
            at += k
        return w * np.array(rows)[free]

    return slopes


def competitors(scale: float) -> tuple[list[Competitor], list[str]]:
    """All that are there, and a note on each that is not; ``scale`` shrinks what slow ones get."""
    rows, notes = [], []

    def most(n: int) -> int:
        return max(10, round(scale * n))

    for engine, fault in engines():
        if fault:
            notes.append(f"{engine} is left out: {fault}")
            continue
        whole = 10**9
        rows += [
            Competitor(f"xr_modelfit, {engine}", computed(engine), whole, own=True, needed=needed(engine)),
            Competitor(f"xr_modelfit, {engine}, lazy", lazy(engine), whole, own=True, needed=needed(engine)),
        ]
    for fitter in (TRFLSQFitter, LevMarLSQFitter):
        short = fitter.__name__.removesuffix("LSQFitter")
        for scheduler, n in (("processes", 10_000), ("synchronous", 1_000)):
            maps = parallel(fitter, scheduler)
            rows.append(
                Competitor(
                    f"parallel_fit_dask, {short}, {scheduler}",
                    maps,
                    most(n),
                    slow=True,
                    clips=fitter is LevMarLSQFitter,
                )
            )
    rows += [
        Competitor("DataArray.curvefit", curvefit, most(1_000), slow=True),
        Competitor("DataArray.polyfit", polyfit, 10**9, slow=True),
        Competitor("scipy leastsq, loop", loop(False), most(1_000), slow=True),
        Competitor("scipy leastsq, loop, derivatives", loop(True), most(1_000), slow=True),
    ]
    if importlib.util.find_spec("jaxopt"):
        from batched_jax import forget, levenberg_marquardt

        rows.append(Competitor("jaxopt, vmap", levenberg_marquardt, most(10_000), slow=True, forget=forget))
    else:
        notes.append("jaxopt is left out: it is not installed")
    return rows, notes
