"""What correlated noise costs, beside a plain fit of the same samples, as a Markdown table.

    python tests/benchmarks/correlated.py [--fits N] [--repeats N]

A trend and a line, 240 samples each: equally spaced, with gaps, and unevenly spaced. Microseconds a fit, on one thread,
and how many times a plain fit that is. The covariance is one matrix for all fits, and is timed without gaps.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import xarray as xr
from astropy.modeling import Model
from astropy.modeling.models import Const1D, Gaussian1D, Linear1D
from competitors import engines

from xr_modelfit import BatchLSQFitter

N = 240
MODELS = {"trend": Linear1D(0, 0), "line on a constant": Gaussian1D(8, 118, 14) + Const1D(1.0)}
SPACINGS = ("even", "gaps", "uneven")


def samples(model: Model, spacing: str, b: int) -> tuple[xr.DataArray, xr.DataArray]:
    """Data over (p, t) with a correlation of 0.6 from step to step, and its covariance."""
    rng = np.random.default_rng(0)
    t = np.arange(float(N)) if spacing != "uneven" else np.cumsum(rng.uniform(0.5, 1.5, N))
    C = 0.6 ** np.abs(t[:, None] - t)
    y = rng.normal(size=(b, N)) @ np.linalg.cholesky(C).T
    y += model(t) if model.n_submodels > 1 else 0.01 * t
    if spacing == "gaps":
        y[rng.random(y.shape) < 0.1] = np.nan
    return xr.DataArray(y, dims=("p", "t"), coords={"t": t}), xr.DataArray(C, dims=("t", "s"))


def seconds(call: Callable[[], object], repeats: int) -> float:
    times = []
    call()  # untimed: memory, compilation
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fits", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print('| model | engine | spacing | plain, µs | `noise="ar1"` | `noise=covariance` |\n|---|---|---|---|---|---|')
    for name, model in MODELS.items():
        for engine in [one for one, wrong in engines() if not wrong]:
            if engine == "numba" and name == "trend":  # linear models are left to NumPy
                continue
            for spacing in SPACINGS:
                data, covariance = samples(model, spacing, options.fits)

                def timed(few: xr.DataArray, noise: object, model: Model = model, engine: str = engine) -> float:
                    fitter = BatchLSQFitter(engine=engine)
                    call = {"noise": noise, "fitter": fitter, "errors": "ignore", "scheduler": "synchronous"}
                    return 1e6 * seconds(lambda: few.modelfit(model, "t", **call), options.repeats) / few.sizes["p"]

                plain, ar1 = timed(data, None), timed(data, "ar1")
                row = [name, engine, spacing, f"{plain:.1f}", f"{ar1:.1f} ({ar1 / plain:.1f} times)"]
                if spacing == "even":
                    known = timed(data[: options.fits // 4], covariance)
                    row.append(f"{known:.1f} ({known / plain:.1f} times)")
                else:
                    row.append("")
                print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
