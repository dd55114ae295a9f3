"""A bar that counts fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xr_modelfit.extras import needed

__all__ = ["Tell", "fits_bar"]

Tell = Callable[[int], None]


@contextmanager
def fits_bar(progress: bool, n_fits: int, done: int = 0, what: str = "modelfit") -> Iterator[Tell | None]:
    """A function to call with the number of finished fits; None unless ``progress``.

    ``n_fits`` counts all, ``done`` those of an earlier run; ``what`` stands before the bar. Raises ImportError without
    tqdm.
    """
    if not progress:
        yield None
        return
    tqdm = needed("tqdm.auto", "progress", "progress=True").tqdm
    with tqdm(total=n_fits, initial=done, unit=" fits", unit_scale=True, desc=what) as bar:
        yield bar.update
