"""Errors of two sides, upper limits and errors of the coordinate, beside a plain fit of the same samples.

    python tests/benchmarks/limits.py [--fits N] [--repeats N] [--seed N] [--engines numpy,numba]

Three models with 80 samples. Times are those of one core (of the processor, not of the clock), per fit: the least of
some runs after one that is not timed.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model
from astropy.modeling.models import Const1D, Exponential1D, Gaussian1D, Linear1D, Lorentz1D

from xr_modelfit import BatchLSQFitter

X = np.linspace(-10.0, 10.0, 80)
MODELS: dict[str, tuple[Model, tuple[float, ...]]] = {
    "Gaussian1D + constant": (Gaussian1D(8, 0.3, 2.2) + Const1D(1.0), (10.0, 0.0, 2.0, 1.0)),
    "Exponential1D": (Exponential1D(8.0, 6.0), (10.0, 5.0)),
    "Lorentz1D + slope": (Lorentz1D(8, 0.3, 3.5) + Linear1D(0, 1), (12.0, 0.0, 3.0, 0.1, 1.0)),
}
"""By name: a model at its start, and the truth."""


def ways(y: xr.DataArray) -> dict[str, tuple[xr.DataArray, dict[str, Any]]]:
    """By name: data, and the arguments of a fit."""
    limit = y < 2.0
    return {
        "plain": (y, {"sigma": 1.0}),
        "sigma=(lower, upper)": (y, {"sigma": (0.8, xr.full_like(y, 1.2))}),
        "upper_limit=, those below 2": (y.where(~limit, 2.0), {"sigma": 1.0, "upper_limit": limit}),
        "coord_sigma=0.2": (y, {"sigma": 1.0, "coord_sigma": 0.2}),
    }


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """The least time of the processor."""
    work()  # untimed: memory, compilation
    times = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


def rows(options: argparse.Namespace) -> Iterator[str]:
    engines = options.engines.split(",")
    heads = ["model", "fit", *(f"{e}, µs" for e in engines), *(f"{e}, times plain" for e in engines), "successful"]
    yield f"| {' | '.join(heads)} |"
    yield "|---|---|" + "--:|" * (len(heads) - 2)
    for name, (model, truth) in MODELS.items():
        clean = model.copy()
        clean.parameters = truth
        noise = np.random.default_rng(options.seed).normal(size=(options.fits, X.size))
        y = xr.DataArray(clean(X) + noise, dims=("fit", "x"), coords={"x": X})
        plain: list[float] = []
        for way, (data, given) in ways(y).items():
            good, times = 0.0, []
            for engine in engines:
                call = {"fitter": BatchLSQFitter(engine=engine), "errors": "ignore", "scheduler": "synchronous"}

                def fitted(data: xr.DataArray = data, call: dict[str, Any] = given | call) -> xr.Dataset:
                    return data.modelfit(model, "x", **call)  # noqa: B023

                times.append(1e6 * seconds(fitted, options.repeats) / options.fits)
                good = float((fitted()["fit_status"] > 0).mean())
            plain = plain or times
            cells = [f"{t:.1f}" for t in times] + [f"{t / p:.1f}" for t, p in zip(times, plain, strict=True)]
            yield f"| {name if way == 'plain' else ''} | {way} | {' | '.join(cells)} | {good:.1%} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engines", default="numpy,numba")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for line in rows(options):
        print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
