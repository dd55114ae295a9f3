"""Peaks along one coordinate, one after the other, each beside the continuum and those before it.

The strongest comes first. Peaks that may be anywhere in the same range are named in the order of their starts: the one
whose start lies lowest gets the one that is found lowest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xr_modelfit.estimates.cleaning import cleaned
from xr_modelfit.estimates.columns import Fits, inner
from xr_modelfit.estimates.edges import between_edges
from xr_modelfit.estimates.linear_part import Basis, chi_square, columns_at, solved
from xr_modelfit.estimates.peaks import PEAKS
from xr_modelfit.estimates.terms import Term
from xr_modelfit.estimates.windows import Window, Wish, best_window

__all__ = ["with_lines"]

_CLEAR = 25.0  # drop of chi-square, in those of noise: less may be a line that was taken for a spike
_SPLITS = ((0.28, 0.5), (0.18, 0.7), (0.4, 0.4))  # of an extent: distance of two lines from its middle, their extents


def with_lines(fits: Fits, P: np.ndarray, peaks: Sequence[Term], continuum: np.ndarray) -> np.ndarray:
    """Parameters (K, b) with those of the peaks, and linear ones, estimated.

    Parameters
    ----------
    fits : Fits
    P : ndarray, shape (K, b)
        What is known so far.
    peaks : sequence of Term
    continuum : ndarray of bool, shape (K,)
        Parameters of other terms.
    """
    clean, noise = cleaned(fits)
    windows, P = _searched(clean, P, peaks, continuum)
    unclear = (windows[0].drop < _CLEAR * noise**2) if windows else np.zeros(0, dtype=bool)
    if unclear.any():  # judged by the fit alone, whatever the others are
        raw_windows, raw = _searched(fits, P, peaks, continuum)
        better = unclear & (raw_windows[0].drop > 2.0 * _CLEAR * noise**2)
        P = np.where(better, raw, P)
    candidates = [solved(clean, P)]
    if len(windows) > 1:
        candidates += [solved(clean, Q) for Q in _split(fits, P, peaks, windows)]
    return best_of(clean, candidates)


def best_of(fits: Fits, candidates: Sequence[np.ndarray]) -> np.ndarray:
    """Of tables (K, b) the parameters with the lowest chi-square, fit by fit; the first where none has any."""
    if len(candidates) == 1:
        return candidates[0]
    chi2 = np.stack([chi_square(fits, P) for P in candidates])
    best = np.argmin(chi2, axis=0)
    return np.take_along_axis(np.stack(candidates), best[None, None], axis=0)[0]


def _searched(
    fits: Fits, P: np.ndarray, peaks: Sequence[Term], continuum: np.ndarray
) -> tuple[list[Window], np.ndarray]:
    free = [peak for peak in peaks if not fits.problem.tied[peak.at[PEAKS[type(peak.model)].place]]]
    P = P.copy()
    for peak in peaks:  # out of the way until it is found
        P[peak.at[PEAKS[type(peak.model)].height]] = 0.0
    x, few = fits.inputs[0], slice(None)
    if x.shape[1] == 1 and bool(np.all(P[continuum] == P[continuum][:, :1])):
        few = slice(0, 1)
    base = P[:, few] if few != slice(None) else P
    zero, columns = columns_at(fits, np.ascontiguousarray(base), fits.linear & continuum)
    basis = Basis.of(columns, fits.W)
    z, _ = basis.removed(np.where(fits.W > 0.0, fits.y - zero, 0.0), fits.W)
    windows: list[Window] = []
    for number, peak in enumerate(free):
        window = best_window(z, fits.W, x, basis, _wish(fits, peak))
        if type(peak.model).__name__ == "Box1D":
            window = between_edges(z, fits.W, x, basis, window)
        windows.append(window)
        P = _placed(fits, P, peak, window)
        if number + 1 < len(free):
            basis, z = _with_peak(fits, P, peak, basis, z)
    return windows, _in_order(fits, P, free, windows)


def _with_peak(fits: Fits, P: np.ndarray, peak: Term, basis: Basis, z: np.ndarray) -> tuple[Basis, np.ndarray]:
    """The basis with the shape of a peak as well, and what is left of the data."""
    alone = {peak.at[PEAKS[type(peak.model)].height]}
    at_one = [np.ones(P.shape[1]) if j in alone else P[j] for j in peak.at.values()]
    column = np.asarray(peak.model.evaluate(fits.inputs[0], *at_one))
    basis = basis.with_column(np.where(np.isfinite(column), column, 0.0), fits.W)
    q = basis.columns[-1]
    return basis, z - inner(fits.W * q, z) * q


def _held(fits: Fits, peak: Term) -> dict[str, np.ndarray]:
    """Parameters of a peak that keep their start."""
    stays = ~fits.asked & ~fits.problem.tied
    return {name: fits.start[j] for name, j in peak.at.items() if stays[j]}


def _wish(fits: Fits, peak: Term) -> Wish:
    kind, held = PEAKS[type(peak.model)], _held(fits, peak)
    b = fits.y.shape[1]
    at, top = peak.at[kind.place], peak.at[kind.height]
    low, high = fits.lower[at], fits.upper[at]
    if kind.place in held:
        low = high = held[kind.place]
    extent = kind.extent(held)
    positive, negative = fits.upper[top] > 0.0, fits.lower[top] < 0.0
    if kind.height in held:
        positive, negative = held[kind.height] > 0.0, held[kind.height] < 0.0
    if peak.sign < 0:
        positive, negative = negative, positive
    return Wish(low, high, np.full(b, np.nan) if extent is None else extent, positive, negative)


def _placed(fits: Fits, P: np.ndarray, peak: Term, window: Window) -> np.ndarray:
    """The parameters with those of a peak where the window is; as they were where none was found."""
    kind, held = PEAKS[type(peak.model)], _held(fits, peak)
    values = {kind.place: window.centre} | kind.shape(window.extent, peak.sign * window.height, held)
    found = np.isfinite(window.height)
    P = P.copy()
    for name, value in values.items():
        j = peak.at[name]
        if fits.asked[j]:
            P[j] = np.where(found, np.clip(value, fits.lower[j], fits.upper[j]), fits.start[j])
    return P


def _in_order(fits: Fits, P: np.ndarray, peaks: Sequence[Term], windows: Sequence[Window]) -> np.ndarray:
    """Windows given to peaks by their place, among those that may be in the same range."""
    left = list(range(len(peaks)))
    while left:
        first = _wish(fits, peaks[left[0]])
        group = [k for k in left if _alike(first, _wish(fits, peaks[k]))]
        left = [k for k in left if k not in group]
        if len(group) == 1:
            continue
        starts = np.stack([fits.start[peaks[k].at[PEAKS[type(peaks[k].model)].place]] for k in group])
        rank = np.argsort(np.argsort(starts, axis=0, kind="stable"), axis=0, kind="stable")
        order = np.argsort(np.stack([windows[k].centre for k in group]), axis=0, kind="stable")
        chosen = np.take_along_axis(order, rank, axis=0)
        for number, k in enumerate(group):
            P = _placed(fits, P, peaks[k], _mixed([windows[i] for i in group], chosen[number]))
    return P


def _alike(one: Wish, other: Wish) -> bool:
    pairs = zip(vars(one).values(), vars(other).values(), strict=True)
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)


def _mixed(windows: Sequence[Window], which: np.ndarray) -> Window:
    """Of each fit the window ``which`` (b,)."""
    fields = (np.stack([getattr(w, name) for w in windows]) for name in ("centre", "extent", "height", "drop"))
    return Window(*(np.take_along_axis(field, which[None], axis=0)[0] for field in fields))


def _split(fits: Fits, P: np.ndarray, peaks: Sequence[Term], windows: Sequence[Window]) -> list[np.ndarray]:
    """The two first peaks on both sides of the middle of the first window: lines that blend."""
    free = [peak for peak in peaks if not fits.problem.tied[peak.at[PEAKS[type(peak.model)].place]]]
    first, found = windows[0], []
    for distance, part in _SPLITS:
        away, extent = distance * first.extent, part * first.extent
        beside = [Window(first.centre + sign * away, extent, first.height, first.drop) for sign in (-1, 1)]
        found.append(_in_order(fits, P, free, [*beside, *windows[2:]]))
    return found
