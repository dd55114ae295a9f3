"""What neighbours say of a map, against loops over its positions; blocks of a lazy map say the same."""

import math
from itertools import product

import dask.array
import numpy as np
import pytest
import xarray as xr

from xr_modelfit.estimates.coarse import refined, rounded
from xr_modelfit.estimates.neighbours import best_neighbours, filled, offsets, stand_out
from xr_modelfit.execution.halos import with_halo

GRIDS = [(7,), (1,), (5, 6), (1, 6), (3, 1), (2, 2), (3, 4, 2)]


def maps_of(grid: tuple[int, ...], k: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps, errors and what is good; some of it NaN."""
    rng = np.random.default_rng(math.prod(grid))
    maps = rng.normal(size=(k, *grid)).round(1)
    maps[rng.uniform(size=maps.shape) < 0.1] = 30.0
    errors = rng.uniform(0.01, 0.5, maps.shape)
    errors[rng.uniform(size=maps.shape) < 0.2] = np.nan
    good = rng.uniform(size=grid) < 0.7
    maps[:, ~good] = np.nan
    return maps, errors, good


def around(at: tuple[int, ...], grid: tuple[int, ...], radius: int) -> list[tuple[int, ...]]:
    """Positions within a radius by a search of the whole grid, nearest first, then in the order of the grid."""
    found = [
        (sum((i - j) ** 2 for i, j in zip(at, other, strict=True)), other)
        for other in product(*map(range, grid))
        if other != at
    ]
    return [other for squared, other in sorted(found) if squared <= radius**2]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("radius", [1, 2, 3])
def test_best_neighbours_are_those_of_a_search(grid: tuple[int, ...], radius: int) -> None:
    maps, _, good = maps_of(grid)
    for most in (1, 3):
        expected = np.full((most, *maps.shape), np.nan)
        for at in product(*map(range, grid)):
            near = [other for other in around(at, grid, radius) if good[other]]
            for slot, other in enumerate(near[:most]):
                expected[(slot, slice(None), *at)] = maps[(slice(None), *other)]
        np.testing.assert_array_equal(best_neighbours(maps, good, radius, most, len(grid)), expected)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("radius", [1, 2])
def test_what_stands_out_is_what_a_loop_finds(grid: tuple[int, ...], radius: int) -> None:
    maps, errors, good = maps_of(grid)
    expected = np.zeros(grid, dtype=bool)
    for at in product(*map(range, grid)):
        near = [other for other in around(at, grid, radius) if good[other]]
        if not good[at] or len(near) < 3:
            continue
        for one, error in zip(maps, errors, strict=True):
            beside = np.array([one[other] for other in near])
            middle = np.median(beside)
            scatter = 1.4826 * np.median(abs(beside - middle))
            usual = [error[other] for other in near if np.isfinite(error[other])]
            own = error[at] if np.isfinite(error[at]) else 0.0
            expected[at] |= abs(one[at] - middle) > 3.0 * max(scatter, min(own, 3.0 * np.median(usual or [np.inf])))
    np.testing.assert_array_equal(stand_out(maps, errors, good, radius, 3.0, len(grid)), expected)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_gaps_are_filled_from_their_rim(grid: tuple[int, ...]) -> None:
    maps, _, _ = maps_of(grid, k=3)
    maps[2] = np.nan  # nothing is known of it
    expected = maps.copy()
    for one in expected[:2]:
        while np.isnan(one).any() and not np.isnan(one).all():
            before = one.copy()
            for at in zip(*np.nonzero(np.isnan(before)), strict=True):
                reach = [range(max(i - 1, 0), i + 2) for i in at]
                beside = [before[o] for o in product(*reach) if all(i < n for i, n in zip(o, grid, strict=True))]
                if np.isfinite(beside).any():
                    one[at] = np.nanmean(beside)
    np.testing.assert_allclose(filled(maps, len(grid)), expected, rtol=1e-13)


def test_more_axes_than_the_grid_are_maps_of_their_own() -> None:
    maps, errors, good = maps_of((3, 4, 2))
    beside = best_neighbours(maps, good, 2, 2, 2)
    for i in range(3):
        np.testing.assert_array_equal(beside[:, :, i], best_neighbours(maps[:, i], good[i], 2, 2, 2))
        far = stand_out(maps[:, i], errors[:, i], good[i], 2, 3.0, 2)
        np.testing.assert_array_equal(stand_out(maps, errors, good, 2, 3.0, 2)[i], far)


def test_without_axes_nothing_is_beside() -> None:
    maps, good = np.ones((2, 5)), np.ones(5, dtype=bool)
    assert offsets(0, 3) == []
    assert np.isnan(best_neighbours(maps, good, 1, 2, 0)).all()
    assert not stand_out(maps, maps, good, 1, 3.0, 0).any()


@pytest.mark.quick_share(4)
@pytest.mark.parametrize("chunks", [(5, 7), (1, 1), (2, 3), (5, 1), ((1, 3, 1), (6, 1))], ids=str)
@pytest.mark.parametrize("radius", [1, 3, 8])
@pytest.mark.parametrize("scheduler", ["synchronous", pytest.param("threads", marks=pytest.mark.slow)])
def test_a_lazy_map_says_what_the_whole_says(chunks: tuple, radius: int, scheduler: str) -> None:
    maps, errors, good = maps_of((4, 5, 7))
    arrays = [*maps, *errors, good.astype(float)]

    def both(*given: np.ndarray) -> np.ndarray:
        values, stderr, fine = np.stack(given[:2]), np.stack(given[2:4]), given[4] > 0
        near = best_neighbours(values, fine, radius, 2, 2)
        far = stand_out(values, stderr, fine, radius, 3.0, 2)
        return np.concatenate([near, np.broadcast_to(far, (1, *near.shape[1:]))])

    whole = with_halo(both, [xr.Variable(("t", "y", "x"), a) for a in arrays], 2, radius, (3, 2))
    cut = [xr.Variable(("t", "y", "x"), dask.array.from_array(a, (2, *chunks))) for a in arrays]
    lazy = with_halo(both, cut, 2, radius, (3, 2))
    assert lazy.chunks is not None
    assert lazy.dims == whole.dims
    np.testing.assert_array_equal(lazy.compute(scheduler=scheduler).values, whole.values)


def test_arrays_that_are_cut_otherwise_or_not_at_all_go_together() -> None:
    maps, _, good = maps_of((6, 6))
    given = [
        xr.Variable(("y", "x"), maps[0]),
        xr.Variable(("y", "x"), dask.array.from_array(maps[1], (2, 6))),
        xr.Variable(("y", "x"), dask.array.from_array(good.astype(float), (6, 3))),
    ]

    def near(*a: np.ndarray) -> np.ndarray:
        return best_neighbours(np.stack(a[:2]), a[2] > 0, 2, 1, 2)

    found = with_halo(near, given, 2, 2, (1, 2))
    np.testing.assert_array_equal(found.values, best_neighbours(maps, good, 2, 1, 2))


@pytest.mark.parametrize(("factor", "size"), [(2, 8), (3, 8), (4, 9), (5, 5), (4, 1)])
def test_a_refined_map_is_linear_between_the_middles_of_cells(factor: int, size: int) -> None:
    n = math.ceil(size / factor)
    coarse = np.random.default_rng(size).normal(size=(2, n))
    middles = (np.arange(n) + 0.5) * factor - 0.5
    expected = [np.interp(np.arange(size), middles, one) for one in coarse]  # constant beyond the outermost
    np.testing.assert_allclose(refined(coarse, [factor], [size]), expected, rtol=1e-13, atol=1e-13)


def test_a_refined_map_of_two_axes_keeps_a_plane_and_fills_gaps() -> None:
    y, x = np.mgrid[0:4, 0:3] * 1.0
    fine = refined((10 * y + x)[None], [4, 2], [16, 6])[0]
    rows, columns = np.clip((np.arange(16) - 1.5) / 4, 0, 3), np.clip((np.arange(6) - 0.5) / 2, 0, 2)
    np.testing.assert_allclose(fine, 10 * rows[:, None] + columns, rtol=1e-13, atol=1e-13)
    holed = np.full((3, 3), 7.0)
    holed[1:, 1:] = np.nan
    assert np.all(refined(holed, [2, 2], [6, 6]) == 7.0)


def test_rounding_forgets_the_last_bits_and_keeps_an_eighth_of_the_error() -> None:
    rng = np.random.default_rng(3)
    values, errors = rng.normal(size=1000) * 1e3, 10.0 ** rng.uniform(-3, 2, 1000)
    out = rounded(values, errors)
    assert np.all(abs(out - values) <= errors / 16)
    assert np.mean(rounded(values * (1 + 4e-16), errors) == out) > 0.999
    for error in (0.0, np.nan, np.inf, -1.0):
        assert rounded(np.array([1.23456]), np.array([error]))[0] == 1.23456
