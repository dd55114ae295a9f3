"""A real 13CO cube: the batch fitter reaches the minima that astropy's TRF reaches, without and with bounds."""

from dataclasses import dataclass
from typing import Any

import pytest
import xarray as xr
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Gaussian1D

from xr_modelfit import BatchLSQFitter, FitStatus, fit

PART = {"y": slice(30, 50), "x": slice(45, 65)}  # lines, and positions without any
VARIANTS: dict[str, dict[str, tuple[float, float]]] = {"free": {}, "bounded": {"mean": (3000.0, 6000.0)}}
NAMES = ("amplitude", "mean", "stddev")

every_variant = pytest.mark.parametrize("variant", list(VARIANTS))


@dataclass(frozen=True)
class Pair:
    """The same fits by the two fitters."""

    ours: xr.Dataset
    theirs: xr.Dataset

    @property
    def no_worse(self) -> xr.DataArray:
        """Where chi-square is no worse, relative 1e-6."""
        return self.ours["chi2"] <= self.theirs["chi2"] * (1 + 1e-6)

    @property
    def same_minimum(self) -> xr.DataArray:
        """Where both converged and agree on chi-square to 1e-6."""
        close = abs(self.ours["chi2"] - self.theirs["chi2"]) <= 1e-6 * self.theirs["chi2"]
        return self.ours.modelfit.ok & self.theirs.modelfit.ok & close


def both(cube: xr.DataArray, variant: str, scheduler: str) -> Pair:
    """The cube from one start by both; fits that did not converge keep what they have."""
    model = Gaussian1D(1, 4000, 500, bounds=VARIANTS[variant])
    options: dict[str, Any] = {"keep_failed": True, "errors": "ignore"}
    ours = fit(cube, model, "velocity", fitter=BatchLSQFitter(), **options)
    return Pair(ours, fit(cube, model, "velocity", fitter=TRFLSQFitter(), scheduler=scheduler, **options))


_WHOLE: dict[str, Pair] = {}


@pytest.fixture
def whole(cube: xr.DataArray, variant: str) -> Pair:
    """All 11 025 positions, those without signal too; computed once for each variant."""
    if variant not in _WHOLE:
        _WHOLE[variant] = both(cube, variant, "processes")
    return _WHOLE[variant]


def assert_same_parameters(pair: Pair) -> None:
    """Within 1 % of a standard error where both are in the same minimum; on a bound, within 1e-3 of the other's."""
    for name in NAMES:
        error = pair.ours[f"{name}_stderr"].where(pair.same_minimum, drop=True)
        ours, theirs = (r[name].where(pair.same_minimum, drop=True) for r in (pair.ours, pair.theirs))
        at_bound = pair.ours["fit_status"].where(pair.same_minimum, drop=True) == FitStatus.CONVERGED_AT_BOUND
        assert (error.notnull() | at_bound | ours.isnull()).all()
        distance = abs(ours - theirs) / error
        assert float(distance.max()) <= 0.01, name
        spread = float(error.median())
        assert float((abs(ours - theirs) / spread).where(error.isnull()).max().fillna(0.0)) <= 0.01, name


def assert_within_bounds(pair: Pair, variant: str) -> None:
    for name, (low, high) in VARIANTS[variant].items():
        assert ((pair.ours[name] >= low) & (pair.ours[name] <= high)).all()


@pytest.mark.slow
@every_variant
def test_a_part(cube: xr.DataArray, variant: str) -> None:
    """400 positions."""
    pair = both(cube.isel(PART), variant, "synchronous")
    assert float(pair.no_worse.mean()) >= 0.995
    assert float(pair.same_minimum.mean()) >= 0.95
    assert_same_parameters(pair)
    assert_within_bounds(pair, variant)


@pytest.mark.slow
@every_variant
def test_no_worse_than_trf(whole: Pair) -> None:
    """At 99.5 % of all positions, also among fits that did not converge."""
    assert float(whole.no_worse.mean()) >= 0.995


@pytest.mark.slow
@every_variant
def test_same_parameters_in_the_same_minimum(whole: Pair, variant: str) -> None:
    assert float(whole.same_minimum.mean()) >= 0.95
    assert_same_parameters(whole)
    assert_within_bounds(whole, variant)


@pytest.mark.slow
@every_variant
def test_as_many_converge(whole: Pair) -> None:
    """Of the positions where TRF finds a minimum, 99.5 % have one here as well."""
    assert float(whole.ours.modelfit.ok.where(whole.theirs.modelfit.ok).mean()) >= 0.995
