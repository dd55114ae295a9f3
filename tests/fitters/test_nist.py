"""NIST StRD, nonlinear regression: 27 sets with certified values, two starts each."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import least_squares

from support.nist import NistSet, digits, fit_both, read_all, values
from xr_modelfit import BatchLSQFitter, FitStatus

TIGHT = BatchLSQFitter(maxiter=1000, ftol=1e-12, xtol=1e-12, gtol=1e-12)
Fits = dict[str, xr.Dataset]


@pytest.fixture(scope="module")
def sets(shared_data: Path) -> dict[str, NistSet]:
    return {one.name: one for one in read_all(shared_data / "nist")}


@pytest.fixture(scope="module")
def tight(sets: dict[str, NistSet]) -> Fits:
    return {name: fit_both(one, TIGHT) for name, one in sets.items()}


@pytest.fixture(scope="module")
def default(sets: dict[str, NistSet]) -> Fits:
    return {name: fit_both(one, None) for name, one in sets.items()}


def reached(sets: dict[str, NistSet], fits: Fits, least: float) -> list[str]:
    """Name and start of those whose worst parameter has ``least`` digits."""
    return [
        f"{name} {start + 1}"
        for name, one in sets.items()
        for start in range(2)
        if digits(values(fits[name], one), one.parameters)[start] >= least
    ]


def test_the_files_are_read_and_the_models_are_right(sets: dict[str, NistSet]) -> None:
    assert len(sets) == 27
    for one in sets.values():
        assert one.starts.shape == (2, one.parameters.size)
        assert one.errors.shape == one.parameters.shape
        assert all(x.shape == one.y.shape for x in one.x)
        residual = one.y - one.function(*one.x, *one.parameters)
        if one.name != "Lanczos1":  # its residual is what rounding the parameters to eleven digits leaves
            assert residual @ residual == pytest.approx(one.chi2, rel=1e-9)


def test_tight_tolerances(sets: dict[str, NistSet], tight: Fits) -> None:
    assert len(reached(sets, tight, 6)) == 54


def test_default_tolerances(sets: dict[str, NistSet], default: Fits) -> None:
    assert len(reached(sets, default, 6)) == 54


def test_certified_standard_deviations(sets: dict[str, NistSet], tight: Fits) -> None:
    at = reached(sets, tight, 6)
    short = {}
    for name, one in sets.items():
        found = digits(values(tight[name], one, "_stderr"), one.errors)
        short |= {f"{name} {i + 1}": found[i] for i in range(2) if f"{name} {i + 1}" in at and found[i] < 4}
    assert {place: value for place, value in short.items() if not place.startswith("Lanczos1")} == {}


@pytest.mark.parametrize("tolerances", ["tight", "default"])
def test_what_is_called_converged_is_a_minimum(
    sets: dict[str, NistSet], tolerances: str, request: pytest.FixtureRequest
) -> None:
    fits: Fits = request.getfixturevalue(tolerances)
    for name, one in sets.items():
        found, status = values(fits[name], one), fits[name]["fit_status"].to_numpy()
        for start in range(2):
            if digits(found[start], one.parameters) >= 4:
                assert status[start] == FitStatus.CONVERGED, (name, start + 1)
            elif status[start] > 0:
                assert not can_be_improved(one, found[start]), (name, start + 1)


def can_be_improved(one: NistSet, p: np.ndarray) -> bool:
    """Whether scipy, started at ``p``, finds anything lower."""

    def residual(q: np.ndarray) -> np.ndarray:
        return one.y - one.function(*one.x, *q)

    with np.errstate(all="ignore"):
        cost = np.sum(residual(p) ** 2)
        options = {"x_scale": "jac", "xtol": 1e-14, "ftol": 1e-14, "gtol": 1e-14}
        there = least_squares(residual, p, method="trf", max_nfev=1000, **options)
    return bool(2.0 * there.cost < cost * (1.0 - 1e-8))
