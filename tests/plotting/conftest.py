"""Fixtures of all pictures: no windows, default settings, and no figure left open."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def agg() -> Iterator[None]:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg", force=True)
    import matplotlib.pyplot as plt

    with matplotlib.style.context("default"):
        yield
    plt.close("all")
