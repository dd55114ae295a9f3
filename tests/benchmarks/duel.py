"""A duel from the same starts: this package, scipy's `least_squares`, and astropy's fitters.

    python tests/benchmarks/duel.py [--seed N] [--fits N] [--families WORD,...] [--without WORD,...]

A fit counts if it says success and its chi-square is within 1e-6 of the best that anybody found from any start given.
Shares per family are printed, where another is ahead, and whether successes are minima: each positive fit of this
package is polished by `least_squares` at 1e-15 from where it ended. What goes lower is named, and where standard errors
differ by more than a thousandth from those of the polished fit. Constants of the fitter were looked at on seeds below
100; report on others. ``--page`` puts the table between the marks of a page.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from astropy.modeling.fitting import DogBoxLSQFitter, LevMarLSQFitter, LMLSQFitter, TRFLSQFitter
from duel_families import FAMILIES, Family
from scipy.optimize import least_squares

from xr_modelfit import BatchLSQFitter

SAME = 1e-6  # of chi-square
OURS = "this package"
BEGIN, END = "<!-- made by tests/benchmarks/duel.py -->", "<!-- end of the duel -->"


class Fits(NamedTuple):
    """Fits of a family: data (b, *shape), starts and truths (b, K), standard error of a sample."""

    y: np.ndarray
    start: np.ndarray
    sigma: np.ndarray


class Ended(NamedTuple):
    """What a competitor says: success (b,), parameters and, of this package, standard errors (b, K)."""

    success: np.ndarray
    parameters: np.ndarray
    errors: np.ndarray | None = None


def drawn(family: Family, n: int, seed: int) -> Fits:
    """Some fits, by a seed."""
    rng = np.random.default_rng([seed, FAMILIES.index(family)])
    y, start, sigma = [], [], []
    for _ in range(n):
        truth = np.asarray(family.truth(rng), dtype=float)
        values = np.asarray(family.model.evaluate(*family.inputs, *truth), dtype=float)
        error = family.noise(values) if callable(family.noise) else family.noise
        one = values + error * rng.normal(size=values.shape)
        one[rng.uniform(size=values.shape) < family.gaps] = np.nan
        y.append(one)
        start.append(family.start(rng, truth))
        sigma.append(error)
    return Fits(np.array(y), np.array(start, dtype=float), np.array(sigma, dtype=float))


def by_modelfit(fitter: Any, family: Family, fits: Fits) -> Ended:
    """A fitter of this package or of astropy, through this package."""
    dims = [f"d{i}" for i in range(fits.y.ndim - 1)]
    data = xr.DataArray(fits.y, dims=["fit", *dims])
    coords = {name: xr.DataArray(x, dims=dims) for name, x in zip(family.model.inputs, family.inputs, strict=True)}
    names = list(family.model.param_names)
    tied = family.model.tied
    p0 = {name: xr.DataArray(fits.start[:, j], dims="fit") for j, name in enumerate(names) if not tied[name]}
    fit = data.modelfit(
        family.model,
        dims,
        coords=coords,
        sigma=xr.DataArray(fits.sigma, dims="fit"),
        p0=p0,
        bounds=dict(family.bounds),
        fitter=fitter,
        errors="ignore",
        keep_failed=True,
        scheduler="synchronous",
    )
    parameters, errors = (np.stack([fit[n + end].values for n in names], axis=1) for end in ("", "_stderr"))
    return Ended(fit["fit_status"].values > 0, parameters, errors)


def residual_of(family: Family, fits: Fits, i: int) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray, Any]:
    """Residual of the free parameters of a fit, the free parameters, and their bounds."""
    model, names = family.model, list(family.model.param_names)
    held = {n for n, (low, high) in family.bounds.items() if low is not None and low == high}
    free = np.array([not (model.fixed[n] or model.tied[n]) and n not in held for n in names])
    keep = np.isfinite(fits.y[i])
    template = model.copy()

    def full(p: np.ndarray) -> np.ndarray:
        values = fits.start[i].copy()
        values[free] = p
        if any(model.tied.values()):
            template.parameters = values
            for j, name in enumerate(names):
                if model.tied[name]:
                    values[j] = float(np.squeeze(np.asarray(model.tied[name](template), dtype=float)))
        return values

    def residual(p: np.ndarray) -> np.ndarray:
        values = np.asarray(model.evaluate(*family.inputs, *full(p)), dtype=float)
        return ((values - fits.y[i]) / fits.sigma[i])[keep]

    residual.full = full  # type: ignore[attr-defined]
    pairs = [family.bounds.get(n, model.bounds[n]) for n, f in zip(names, free, strict=True) if f]
    low = np.array([-np.inf if a is None else a for a, _ in pairs])
    high = np.array([np.inf if b is None else b for _, b in pairs])
    return residual, free, (low, high)


def by_scipy(method: str, family: Family, fits: Fits) -> Ended:
    """`least_squares`, one fit after the other."""
    success, parameters = np.zeros(len(fits.y), dtype=bool), np.array(fits.start)
    for i in range(len(fits.y)):
        residual, free, bounds = residual_of(family, fits, i)
        options: dict[str, Any] = {"x_scale": "jac", "method": method, "max_nfev": 2000}
        if method != "lm":
            options["bounds"] = bounds
        try:
            found = least_squares(
                residual, np.clip(fits.start[i][free], *bounds), ftol=1e-10, xtol=1e-10, gtol=1e-10, **options
            )
        except ValueError:  # not finite
            continue
        success[i], parameters[i] = found.success, residual.full(found.x)  # type: ignore[attr-defined]
    return Ended(success, parameters)


COMPETITORS: dict[str, Callable[[Family, Fits], Ended]] = {
    OURS: lambda family, fits: by_modelfit(BatchLSQFitter(engine="numpy"), family, fits),
    "trf": lambda family, fits: by_scipy("trf", family, fits),
    "lm": lambda family, fits: by_scipy("lm", family, fits),
    "dogbox": lambda family, fits: by_scipy("dogbox", family, fits),
    "TRFLSQFitter": lambda family, fits: by_modelfit(TRFLSQFitter(), family, fits),
    "LMLSQFitter": lambda family, fits: by_modelfit(LMLSQFitter(), family, fits),
    "DogBoxLSQFitter": lambda family, fits: by_modelfit(DogBoxLSQFitter(), family, fits),
    "LevMarLSQFitter": lambda family, fits: by_modelfit(LevMarLSQFitter(), family, fits),
}


def chi2_of(family: Family, fits: Fits, parameters: np.ndarray) -> np.ndarray:
    """Chi-square of each fit; infinite outside the bounds, or where it is no number."""
    found = np.full(len(fits.y), np.inf)
    for i, p in enumerate(parameters):
        residual, free, (low, high) = residual_of(family, fits, i)
        inside = np.all(p[free] >= low - 1e-9 * np.abs(low)) and np.all(p[free] <= high + 1e-9 * np.abs(high))
        if np.all(np.isfinite(p)) and inside:
            chi2 = np.sum(residual(p[free]) ** 2)
            found[i] = chi2 if np.isfinite(chi2) else np.inf
    return found


def improved(family: Family, fits: Fits, ended: Ended) -> tuple[int, int]:
    """How many successes go lower by more than 1e-3 of chi-square by its degrees of freedom, in the same valley.

    And how many have a standard error that is not that of where they go.
    """
    lower = other = 0
    for i in np.flatnonzero(ended.success):
        residual, free, bounds = residual_of(family, fits, i)
        p = np.clip(ended.parameters[i][free], *bounds)
        chi2, dof = np.sum(residual(p) ** 2), max(np.isfinite(fits.y[i]).sum() - free.sum(), 1)
        try:
            found = least_squares(residual, p, bounds=bounds, x_scale="jac", ftol=1e-15, xtol=1e-15, gtol=1e-15)
        except ValueError:  # not finite beside it
            continue
        lower += bool(2.0 * found.cost < chi2 * (1.0 - 1e-3 / dof))
        assert ended.errors is not None
        errors = ended.errors[i][free]
        known = np.isfinite(errors) & (found.active_mask == 0)
        other += bool(np.any(abs(errors_of(residual, found.x, errors, known) / errors[known] - 1) > 1e-3))
    return lower, other


def errors_of(residual: Any, p: np.ndarray, scale: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Standard errors at ``p``, by differences of a thousandth of about that: scipy's own steps know no scale."""
    steps = np.diag(0.001 * np.where(known, scale, 0.0))[known]
    J = np.stack([(residual(p + s) - residual(p - s)) / (2.0 * s.max()) for s in steps], axis=1)
    R = np.linalg.qr(J * scale[known], mode="r")
    if not np.all(np.diag(R)):  # no error can be told there
        return np.full(len(R), np.inf)
    return scale[known] * np.sqrt(np.sum(np.linalg.inv(R) ** 2, axis=1))


def duel(family: Family, n: int, seed: int, names: list[str]) -> dict[str, np.ndarray]:
    """Which fits count, by competitor."""
    fits = drawn(family, n, seed)
    ends = {name: COMPETITORS[name](family, fits) for name in names}
    chi2 = {name: chi2_of(family, fits, end.parameters) for name, end in ends.items()}
    best = np.min(list(chi2.values()), axis=0)
    found = {name: ends[name].success & (chi2[name] <= best * (1 + SAME) + 1e-12) for name in names}
    found["improved"] = np.array(improved(family, fits, ends[OURS]))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--fits", type=int, default=60)
    parser.add_argument("--families", default="")
    parser.add_argument("--without", default="")
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    without = [w for w in options.without.split(",") if w]
    names = [n for n in COMPETITORS if not any(w == n for w in without)]
    wanted = [w for w in options.families.split(",") if w]
    families = [f for f in FAMILIES if not wanted or any(w in f.name for w in wanted)]
    rows = ["| family | " + " | ".join(names) + " |", "|---" + "|---" * len(names) + "|"]
    print("\n".join(rows))
    totals: dict[str, list[float]] = {name: [] for name in names}
    for family in families:
        begin = time.perf_counter()
        found = duel(family, options.fits, options.seed, names)
        shares = {name: float(np.mean(found[name])) for name in names}
        for name in names:
            totals[name].append(shares[name])
        best = max(shares[name] for name in names if name != OURS) if len(names) > 1 else 0
        mark = " **behind**" if shares[OURS] < best - 0.01 else ""
        rows.append(f"| {family.name}{mark} | " + " | ".join(f"{shares[name]:.2f}" for name in names) + " |")
        print(rows[-1], flush=True)
        lower, other = found["improved"].tolist()
        said = f", {lower} can be improved" * bool(lower) + f", {other} have other errors" * bool(other)
        print(f"{time.perf_counter() - begin:.1f} s{said}", file=sys.stderr)
    rows.append("| all | " + " | ".join(f"{np.mean(totals[name]):.3f}" for name in names) + " |")
    print(rows[-1])
    if options.page:
        put_into(options.page, [f"Seed {options.seed}, {options.fits} fits of each family.", "", *rows])
    return 0


def put_into(page: Path, lines: list[str]) -> None:
    """Put lines between the marks of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text("\n".join([before + BEGIN, "", *lines, "", END + after]))


if __name__ == "__main__":
    sys.exit(main())
