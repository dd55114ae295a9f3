"""Robust losses, clipping and counts beside a plain fit of the same samples, and beside loops of scipy.

    python tests/benchmarks/noise.py [--fits N] [--loop N] [--repeats N] [--seed N] [--engines numpy,numba]
                                     [--page docs/speed.md] [--efficiency]

Three models with 80 samples. In one sample of ten there is an outlier of ten standard errors; counts have means from 1
to 9 and none. Times are those of one core (of the processor, not of the clock), per fit: the least of some runs after
one that is not timed. ``same`` is the share of the fits of the loop from which no parameter differs by more than 0.01
standard errors. ``--efficiency`` prints the other table: how much parameters scatter with such outliers, and without,
each beside least squares without outliers.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from astropy.modeling import Model
from astropy.modeling.models import Const1D, Exponential1D, Gaussian1D, Linear1D, Lorentz1D
from astropy.stats import sigma_clip
from scipy.optimize import least_squares
from tables import put_into

from xr_modelfit import BatchLSQFitter

X = np.linspace(-10.0, 10.0, 80)
MARK = "<!-- made by tests/benchmarks/noise.py -->"
MODELS: dict[str, tuple[Model, tuple[float, ...]]] = {
    "Gaussian1D + constant": (Gaussian1D(8, 0.3, 2.2) + Const1D(1.0), (10.0, 0.0, 2.0, 1.0)),
    "Exponential1D": (Exponential1D(8.0, 6.0), (10.0, 5.0)),
    "Lorentz1D + slope": (Lorentz1D(8, 0.3, 3.5) + Linear1D(0, 1), (12.0, 0.0, 3.0, 0.1, 1.0)),
}
"""By name: a model at its start, and the truth."""
COUNTS = Gaussian1D(7, 0.3, 2.2, bounds={"amplitude": (0, None)}) + Const1D(1.3, bounds={"amplitude": (1e-3, None)})
COUNTS_TRUTH = (8.0, 0.0, 2.0, 1.0)
WAYS: dict[str, dict[str, Any]] = {
    'loss="soft_l1"': {"loss": "soft_l1", "f_scale": 1.5},
    'loss="huber"': {"loss": "huber", "f_scale": 1.5},
    'loss="cauchy"': {"loss": "cauchy", "f_scale": 2.0},
    'loss="arctan"': {"loss": "arctan", "f_scale": 3.0},
    'loss="huber", f_scale="mad"': {"loss": "huber", "f_scale": "mad"},
    "clip=(3, 3)": {"clip": (3.0, 3.0)},
}
"""By name: options of the fitter."""
EFFICIENCIES = [
    ("soft_l1", 0.5), ("soft_l1", 1.0), ("soft_l1", 2.0), ("huber", 0.7), ("huber", 1.0), ("huber", 1.5),
    ("cauchy", 1.0), ("cauchy", 1.5), ("cauchy", 2.0), ("cauchy", 3.0), ("arctan", 2.0), ("arctan", 2.5),
    ("arctan", 3.0), ("arctan", 4.0),
]  # fmt: skip


@dataclass(frozen=True)
class Samples:
    """Data (b, n) and their errors, of a model from its start."""

    model: Model
    y: np.ndarray
    sigma: np.ndarray | float


def spoilt(name: str, b: int, seed: int, share: float = 0.1) -> Samples:
    """Fits with noise of 1, and with outliers."""
    rng = np.random.default_rng(seed)
    model, truth = MODELS[name]
    clean = model.copy()
    clean.parameters = truth
    outliers = rng.choice([-10.0, 10.0], (b, X.size)) * (rng.random((b, X.size)) < share)
    return Samples(model, clean(X) + rng.normal(size=(b, X.size)) + outliers, 1.0)


def counted(b: int, seed: int) -> Samples:
    """Counts, with the errors that they are often given."""
    model = COUNTS.copy()
    model.parameters = COUNTS_TRUTH
    y = np.random.default_rng(seed).poisson(model(X), (b, X.size)).astype(float)
    return Samples(COUNTS, y, np.sqrt(np.maximum(y, 1.0)))


def fitted(samples: Samples, engine: str, **options: Any) -> xr.Dataset:
    data = xr.DataArray(samples.y, dims=("fit", "x"), coords={"x": X})
    sigma = samples.sigma if isinstance(samples.sigma, float) else data.copy(data=samples.sigma)
    given = {} if options.get("loss") == "poisson" else {"sigma": sigma}
    fitter = BatchLSQFitter(engine=engine, **options)
    return data.modelfit(samples.model, "x", fitter=fitter, errors="ignore", scheduler="synchronous", **given)


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """The least time of the processor."""
    work()  # untimed: memory, compilation
    times = []
    for _ in range(repeats):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)


# --- loops of scipy ---------------------------------------------------------------------------------------------------
def by_scipy(samples: Samples, loss: str = "linear", f_scale: float | str = 1.0, clip: Any = None) -> np.ndarray:
    """Parameters (b, K) by `least_squares`, one fit after the other."""
    value, start = samples.model.evaluate, samples.model.parameters
    found = []
    for y in samples.y:

        def solved(p: np.ndarray, keep: np.ndarray, loss: str, f_scale: float, y: np.ndarray = y) -> np.ndarray:
            x, y = X[keep], y[keep]
            if loss == "poisson":
                low = np.array([-np.inf if b[0] is None else b[0] for b in samples.model.bounds.values()])
                return least_squares(lambda p: _root_of_deviance(y, value(x, *p)), p, bounds=(low, np.inf)).x
            return least_squares(lambda p: value(x, *p) - y, p, loss=loss, f_scale=f_scale).x

        keep, p = np.ones(y.size, dtype=bool), start
        if f_scale == "mad":
            p, scale = solved(p, keep, "linear", 1.0), 0.0
            for _ in range(10):
                now = 1.4826 * np.median(np.abs(value(X, *p) - y))
                if abs(now - scale) <= 1e-3 * scale:
                    break
                p, scale = solved(p, keep, loss, now), now
        else:
            p = solved(p, keep, loss, float(f_scale))
        for _ in range(3 if clip else 0):
            masked = np.ma.masked_array(y - value(X, *p), ~keep)
            left = ~np.ma.getmaskarray(sigma_clip(masked, sigma_lower=clip[0], sigma_upper=clip[1]))
            if (left == keep).all():
                break
            keep = left
            p = solved(p, keep, loss, 1.0)
        found.append(p)
    return np.array(found)


def _root_of_deviance(y: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """Its square is the deviance of counts."""
    deviance = 2.0 * (mu - y + np.where(y > 0, y * np.log(np.where(y > 0, y, 1.0) / mu), 0.0))
    return np.sign(mu - y) * np.sqrt(np.maximum(deviance, 0.0))


def same(samples: Samples, fit: xr.Dataset, by_loop: np.ndarray) -> float:
    names = samples.model.param_names
    P, errors = (np.stack([fit[name + end].values for name in names], axis=1) for end in ("", "_stderr"))
    near = np.abs(P[: len(by_loop)] - by_loop) <= 0.01 * errors[: len(by_loop)]
    return float(np.mean(np.all(near, axis=1)))


# --- tables -----------------------------------------------------------------------------------------------------------
def cost(samples: Samples, engine: str, given: dict[str, Any], options: argparse.Namespace) -> float:
    """Microseconds a fit."""
    return 1e6 * seconds(lambda: fitted(samples, engine, **given), options.repeats) / len(samples.y)


def rows(options: argparse.Namespace) -> Iterator[str]:
    engines = options.engines.split(",")
    heads = ["model", "fit", *(f"{e}, µs" for e in engines), *(f"{e}, times plain" for e in engines)]
    heads += ["scipy loop, µs", "same"]
    yield f"| {' | '.join(heads)} |"
    yield "|---|---|" + "--:|" * (len(heads) - 2)
    cases = [(name, spoilt(name, options.fits, options.seed), WAYS) for name in MODELS]
    cases.append(
        ("counts: Gaussian1D + constant", counted(options.fits, options.seed), {'loss="poisson"': {"loss": "poisson"}})
    )
    for name, samples, ways in cases:
        part = Samples(samples.model, samples.y[: options.loop], samples.sigma)
        unit: dict[str, float] = {}
        for way, given in {"plain": {}, **ways}.items():
            us = [cost(samples, e, given, options) for e in engines]
            unit = unit or dict(zip(engines, us, strict=True))
            begun = time.process_time()
            by_loop = by_scipy(part, **given)
            loop = (time.process_time() - begun) / len(by_loop) * 1e6
            alike = same(samples, fitted(samples, engines[0], **given), by_loop)
            if way == "plain" and not isinstance(samples.sigma, float):
                alike = float("nan")  # the loop has no errors
            cells = [f"{t:.1f}" for t in us] + [f"{t / unit[e]:.1f}" for t, e in zip(us, engines, strict=True)]
            share = "" if np.isnan(alike) else f"{alike:.0%}"
            yield f"| {name if way == 'plain' else ''} | {way} | {' | '.join(cells)} | {loop:.0f} | {share} |"


def efficiencies(options: argparse.Namespace) -> Iterator[str]:
    """Scatter of parameters, in that of least squares without outliers: the root of the mean square over parameters."""

    def scatter(name: str, share: float, **given: Any) -> np.ndarray:
        samples = spoilt(name, options.fits, options.seed, share)
        fit = fitted(samples, options.engines.split(",")[-1], **given)
        P = np.stack([fit[p].values for p in samples.model.param_names], axis=1)
        return np.sqrt(np.nanmean((P - MODELS[name][1]) ** 2, axis=0))

    least = {name: scatter(name, 0.0) for name in MODELS}
    yield f"| loss | f_scale | {' | '.join(MODELS)} | without outliers |"
    yield "|---|--:|" + "--:|" * (len(MODELS) + 1)
    for loss, f_scale in EFFICIENCIES:
        ratios = [scatter(name, 0.1, loss=loss, f_scale=f_scale) / least[name] for name in MODELS]
        clean = [scatter(name, 0.0, loss=loss, f_scale=f_scale) / least[name] for name in MODELS]
        cells = [f"{np.max(r):.2f}" for r in ratios] + [f"{np.mean(np.concatenate(clean)):.2f}"]
        yield f"| {loss} | {f_scale} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=10_000)
    parser.add_argument("--loop", type=int, default=100, help="fits of a loop")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engines", default="numpy,numba")
    parser.add_argument("--efficiency", action="store_true")
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = []
    for line in (efficiencies if options.efficiency else rows)(options):
        print(line, flush=True)
        lines.append(line)
    if options.page is not None:
        put_into(options.page, "\n".join(lines), MARK)


if __name__ == "__main__":
    sys.exit(main())
