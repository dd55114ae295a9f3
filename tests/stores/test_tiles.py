"""Tiles cover every position once, whatever the sizes."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from xr_modelfit.stores.tiles import Tiling

SIZES = st.lists(st.integers(1, 20), min_size=0, max_size=3)


@settings(deadline=None)  # many tiles take their time
@given(SIZES, st.lists(st.integers(1, 25), min_size=3, max_size=3), st.integers(1, 4000))
def test_every_position_is_in_one_tile(sizes: list[int], steps: list[int], most: int) -> None:
    dims = {f"d{i}": n for i, n in enumerate(sizes)}
    chunks = {}
    for (dim, n), step in zip(dims.items(), steps, strict=False):
        step = min(step, n)
        chunks[dim] = (step,) * (n // step) + ((n % step,) if n % step else ())
    tiling = Tiling.of(dims, chunks, most)
    seen = np.zeros(tuple(sizes), dtype=int)
    for i in range(len(tiling)):
        tile = tiling[i]
        assert list(tile) == list(dims)
        assert tiling.fits(i) <= most
        assert all(s.start % tiling.steps[d] == 0 for d, s in tile.items())
        seen[tuple(tile.values())] += 1
    assert (seen == 1).all()
    assert tiling.n_fits == math.prod(sizes)


def test_chunks_are_joined_before_they_are_cut() -> None:
    sizes, chunks = {"y": 100, "x": 100}, {"y": (10,) * 10, "x": (10,) * 10}
    assert Tiling.of(sizes, chunks, 1000).steps == {"y": 10, "x": 100}
    assert Tiling.of(sizes, chunks, 10_000).steps == {"y": 100, "x": 100}
    assert Tiling.of(sizes, chunks, 50).steps == {"y": 5, "x": 10}
    whole = {"y": (100,), "x": (100,)}
    assert Tiling.of(sizes, whole, 1000).steps == {"y": 10, "x": 100}
    assert Tiling.of(sizes, whole, 10).steps == {"y": 1, "x": 10}


def test_how_often_a_chunk_is_read() -> None:
    sizes = {"y": 100, "x": 100}
    assert Tiling(sizes, {"y": 10, "x": 100}).readings({"y": (100,), "x": (100,)}) == 10
    assert Tiling(sizes, {"y": 10, "x": 100}).readings({"y": (10,) * 10, "x": (50, 50)}) == 1
    # Steps of 15 on chunks of 10: chunks 1, 4 and 7 (every third) are cut once.
    assert Tiling(sizes, {"y": 15, "x": 100}).readings({"y": (10,) * 10, "x": (100,)}) == 1.3


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=0, max_size=3),
    st.lists(st.integers(1, 6), min_size=3, max_size=3),
    st.sets(st.integers(0, 60)),
    st.integers(1, 300),
)
def test_runs_are_boxes_of_the_tiles_they_name(sizes: list[int], steps: list[int], left: set[int], most: int) -> None:
    dims = {f"d{i}": n for i, n in enumerate(sizes)}
    tiling = Tiling(dims, dict(zip(dims, steps, strict=False)))
    tiles = [i for i in range(len(tiling)) if i not in left]
    named = []
    for run, box in tiling.runs(tiles, most):
        inside = np.zeros(tuple(sizes), dtype=int)
        for i in run:
            inside[tuple(tiling[i].values())] += 1
        assert (inside[tuple(box.values())] == 1).all()
        assert inside.sum() == math.prod(s.stop - s.start for s in box.values())
        assert len(run) == 1 or inside.sum() <= most
        named += run
    assert named == tiles


def test_a_row_of_tiles_is_one_run() -> None:
    tiling = Tiling({"y": 30, "x": 20}, {"y": 10, "x": 5})
    assert [run for run, _ in tiling.runs(range(12), 10_000)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    single = Tiling({"y": 30}, {"y": 1})
    assert [run for run, _ in single.runs(range(30), 10)] == [list(range(k, k + 10)) for k in (0, 10, 20)]
