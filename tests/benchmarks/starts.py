"""A line that splits in two along a ridge: what estimates and refits mend, and what they cost.

    python tests/benchmarks/starts.py [--size N] [--snr X] [--seed N] [--engine numba|numpy]

A field of positions, each with 80 samples and the sum of two Gaussians. Away from the ridge the second line is weak and
close to the first; on the ridge both are as strong, and up to five widths apart. Both drift along the field by more
than their width. The noise is a third of the stronger line.

A fit is right if it converges, and to the chi-square of the fit from the truth, within 1e-4. Costs are those of one
core (of the processor, not of the clock), as multiples of the plain fit from one start.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import dask
import numpy as np
import xarray as xr
from astropy.modeling.models import Gaussian1D

import xr_modelfit

SAME = 1e-4  # of chi-square
MODEL = Gaussian1D(3, 45, 5) + Gaussian1D(3, 55, 5)
"""One start for all: two lines in the middle of the band."""


def field(size: int, snr: float, seed: int) -> tuple[xr.DataArray, dict[str, xr.DataArray]]:
    """The data over (y, x, v), with noise 1, and the truth by parameter."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size), indexing="ij")
    ridge = np.exp(-0.5 * ((x - 0.5 - 0.15 * np.sin(2 * np.pi * y)) / 0.12) ** 2)
    middle, width = 50 + 25 * (y - 0.5) + 15 * np.cos(2 * np.pi * x), 3.0 + y
    apart = width * (2.0 + 3.0 * ridge)
    truth = {
        "amplitude_0": np.full_like(x, snr), "mean_0": middle - apart / 2, "stddev_0": width,
        "amplitude_1": snr * (0.6 + 0.4 * ridge), "mean_1": middle + apart / 2, "stddev_1": width,
    }  # fmt: skip
    maps = {name: xr.DataArray(values, dims=("y", "x")) for name, values in truth.items()}
    v = xr.DataArray(np.linspace(0, 100, 80), dims="v", coords={"v": np.linspace(0, 100, 80)})
    data = sum(maps[f"amplitude_{i}"] * np.exp(-0.5 * ((v - maps[f"mean_{i}"]) / maps[f"stddev_{i}"]) ** 2)
               for i in (0, 1))  # fmt: skip
    assert isinstance(data, xr.DataArray)
    data = data.transpose("y", "x", "v")
    return data + rng.normal(size=data.shape), maps


def timed(work: Callable[[], xr.Dataset]) -> tuple[xr.Dataset, float]:
    """What the work gives, and its time."""
    begun = time.process_time()
    made = work()
    return made, time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--snr", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--engine", default="numba")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    data, truth = field(given.size, given.snr, given.seed)
    fitter = xr_modelfit.BatchLSQFitter(engine=given.engine)
    options: dict[str, Any] = {"sigma": 1.0, "fitter": fitter}

    def fitted(p0: Any) -> xr.Dataset:
        return data.modelfit(MODEL, "v", p0=p0, errors="ignore", **options)

    def again(result: xr.Dataset, **how: Any) -> Callable[[], xr.Dataset]:
        return lambda: result.modelfit.refit(data, sigma=1.0, **how)

    with dask.config.set(scheduler="synchronous"):
        fitted({})  # compiles, where there is something to compile
        goal = fitted(truth)
        bar = goal["chi2"] * (1 + SAME)  # where it failed, that of where it stopped
        plain, unit = timed(lambda: fitted(None))
        print("| start | right | converged | cost of this step | of all steps |")
        print("|---|---|---|---|---|")

        def row(name: str, result: xr.Dataset, cost: float, total: float) -> None:
            ok = result["fit_status"] > 0
            right = float((ok & (result["chi2"] <= bar)).mean())
            print(
                f"| {name} | {right:.1%} | {float(ok.mean()):.1%} | {cost / unit:.1f} | {total / unit:.1f} |",
                flush=True,
            )

        row("one start for all", plain, unit, unit)
        from_truth, cost = timed(lambda: fitted(truth))
        row("the truth", from_truth, cost, cost)
        for title, p0 in (("one start", None), ("`mean`", "mean"), ("`coarse`", "coarse"), ("`estimate`", "estimate")):
            first, cost = (plain, unit) if p0 is None else timed(lambda p0=p0: fitted(p0))
            if p0 is not None:
                row(title, first, cost, cost)
            if p0 in (None, "estimate"):
                for words, where in (("failed", None), ("suspicious", "suspicious"), ("everywhere", plain["chi2"] > 0)):
                    result, more = timed(again(first, where=where))
                    row(f"{title}, then `refit` {words}", result, more, cost + more)


if __name__ == "__main__":
    main()
