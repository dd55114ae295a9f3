"""A real 13CO cube: the maps of astropy's ``parallel_fit_dask``, without and with bounds, on every scheduler."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.fitting import TRFLSQFitter, parallel_fit_dask
from astropy.modeling.models import Gaussian1D
from distributed import Client

from xr_modelfit import FitStatus, fit

# The seed's example fits this part of the cube; the smaller ones keep quick tests quick.
EXAMPLE = {"y": slice(25, 75), "x": slice(35, 85)}
PART = {"y": slice(25, 37), "x": slice(50, 62)}
SPARSE = {"y": slice(25, 75, 4), "x": slice(35, 85, 4)}
VARIANTS: dict[str, dict[str, tuple[float, float]]] = {"free": {}, "bounded": {"mean": (3000.0, 6000.0)}}

every_variant = pytest.mark.parametrize("variant", list(VARIANTS))


def start(variant: str) -> Gaussian1D:
    """The start of the seed's example, in the units of the cube's velocities."""
    return Gaussian1D(1, 4000, 500, bounds=VARIANTS[variant])


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A cluster of one worker in this process, which nothing uses unless it is named."""
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0", set_as_default=False) as c:
        yield c


_MAPS: dict[tuple[str, int], dict[str, np.ndarray]] = {}


def astropy_maps(cube: xr.DataArray, variant: str) -> dict[str, np.ndarray]:
    """The parameter maps that ``parallel_fit_dask`` gives, kept for the next test."""
    key = (variant, cube.size)
    if key not in _MAPS:
        model = parallel_fit_dask(
            model=start(variant),
            fitter=TRFLSQFitter(),
            data=cube.values,
            world=(cube["velocity"].values,),
            fitting_axes=0,
            scheduler="processes" if cube.size > 100_000 else "synchronous",
        )
        _MAPS[key] = {name: getattr(model, name).value for name in model.param_names}
    return _MAPS[key]


def labelled(cube: xr.DataArray, variant: str, **options: Any) -> xr.Dataset:
    """The same fit by labels; fits that did not converge keep what they have, as they do in astropy."""
    options = {"fitter": TRFLSQFitter(), "keep_failed": True, "errors": "ignore"} | options
    return fit(cube, start(variant), "velocity", **options)


def assert_same_maps(result: xr.Dataset, expected: dict[str, np.ndarray]) -> None:
    """1e-10 relative, NaN in the same places: the same fitter on the same numbers, so rounding is all there is."""
    for name, values in expected.items():
        assert result[name].dims == ("y", "x")
        np.testing.assert_array_equal(np.isnan(result[name].values), np.isnan(values), err_msg=name)
        np.testing.assert_allclose(result[name].values, values, rtol=1e-10, atol=0.0, err_msg=name)


def run(cube: xr.DataArray, variant: str, way: str, scheduler: Any) -> xr.Dataset:
    """The fit of a cube in memory, or of one in chunks along every dim, computed by the user."""
    if way == "computed":
        return labelled(cube, variant, scheduler=scheduler)
    lazy = labelled(cube.chunk(velocity=20, y=11, x=(17 if cube.sizes["x"] > 17 else 5)), variant)
    assert lazy["mean"].chunks is not None
    return lazy.compute(scheduler=scheduler)


def test_the_cube_is_the_real_one(cube: xr.DataArray) -> None:
    """Big-endian float32, 53 channels of 66 m/s, with the first velocity that the seed's documentation shows."""
    assert cube.shape == (53, 105, 105)
    assert cube.dtype == np.dtype(">f4")
    np.testing.assert_allclose(cube["velocity"][[0, 1, -1]], [2528.19489695, 2594.61850695, 5982.22261695], rtol=1e-11)


@pytest.mark.slow
@every_variant
@pytest.mark.parametrize("way", ["computed", "lazy"])
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_a_part_equals_astropy(cube: xr.DataArray, variant: str, way: str, scheduler: str) -> None:
    """144 positions around the brightest ones."""
    part = cube.isel(PART)
    assert_same_maps(run(part, variant, way, scheduler), astropy_maps(part, variant))


@pytest.mark.slow
def test_bounds_change_the_maps_and_hold(cube: xr.DataArray) -> None:
    """Without bounds some means leave the band, with them none does: the two variants do test two things."""
    part = cube.isel(SPARSE)
    free, bounded = labelled(part, "free"), labelled(part, "bounded")
    low, high = VARIANTS["bounded"]["mean"]
    assert ((free["mean"] < low) | (free["mean"] > high)).any()
    assert ((bounded["mean"] >= low) & (bounded["mean"] <= high)).all()
    assert_same_maps(free, astropy_maps(part, "free"))
    assert_same_maps(bounded, astropy_maps(part, "bounded"))


def test_failed_fits_are_nan_unless_they_are_kept(cube: xr.DataArray) -> None:
    """Without ``keep_failed`` the successful positions keep their bits, the others are NaN and say why."""
    part = cube.isel(SPARSE)
    kept = labelled(part, "free")
    plain = labelled(part, "free", keep_failed=False)
    ok = plain.modelfit.ok
    assert ok.any()
    assert not ok.all()
    xr.testing.assert_equal(kept["fit_status"], plain["fit_status"])
    for name in ("amplitude", "mean", "stddev"):
        xr.testing.assert_equal(plain[name], kept[name].where(ok))
    assert not (plain["fit_status"] == FitStatus.NOT_ATTEMPTED).any()


@pytest.mark.slow
@every_variant
@pytest.mark.parametrize("way", ["computed", "lazy"])
@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes", "distributed"])
def test_the_example_on_every_scheduler(
    cube: xr.DataArray, variant: str, way: str, scheduler: str, client: Client
) -> None:
    """The 2500 positions of the seed's example."""
    part = cube.isel(EXAMPLE)
    chosen = client if scheduler == "distributed" else scheduler
    assert_same_maps(run(part, variant, way, chosen), astropy_maps(part, variant))


@pytest.mark.slow
@every_variant
def test_the_whole_cube_on_processes(cube: xr.DataArray, variant: str) -> None:
    """All 11 025 positions, those without signal too."""
    result = labelled(cube, variant, scheduler="processes")
    assert_same_maps(result, astropy_maps(cube, variant))
    assert result.modelfit.ok.mean() > 0.9
