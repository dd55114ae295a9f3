"""Peaks along one coordinate, one after the other, each beside the continuum and those before it.

The strongest comes first. Peaks that may be anywhere in the same range are named in the order of their starts: the one
whose start lies lowest gets the one that is found lowest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xr_modelfit.estimates.cleaning import cleaned
from xr_modelfit.estimates.columns import SampleColumns, inner
from xr_modelfit.estimates.edges import between_edges
from xr_modelfit.estimates.linear_part import Basis, chi_square, columns_at, solved
from xr_modelfit.estimates.peaks import PEAKS
from xr_modelfit.estimates.terms import Term, with_values
from xr_modelfit.estimates.windows import Window, Wish, best_window

__all__ = ["with_lines"]

_CLEAR = 25.0  # drop of chi-square, in those of noise: less may be a line that was taken for a spike
_SPLITS = ((0.28, 0.5), (0.18, 0.7))  # of an extent: distance of two lines from its middle, their extents


def with_lines(fits: SampleColumns, P: np.ndarray, peaks: Sequence[Term], continuum: np.ndarray) -> np.ndarray:
    """Parameters (K, b) with those of the peaks, and linear ones, estimated.

    ``P`` (K, b) is what is known so far, ``continuum`` (K,) are the parameters of other terms.
    """
    beside = _beside(fits, P, peaks, continuum)
    clean, noise = cleaned(fits, np.zeros((1, 1)) if beside.z is fits.y else fits.y - beside.z)
    windows, P = _searched(clean, P, peaks, continuum)
    free = _free(fits, peaks)
    unclear = (windows[0].drop < _CLEAR * noise**2) if windows else np.zeros(0, dtype=bool)
    if unclear.any():  # judged by the fit alone, whatever the others are
        raw_windows, raw = _searched(fits, P, peaks, continuum)
        better = unclear & (raw_windows[0].drop > 2.0 * _CLEAR * noise**2)
        P = np.where(better, raw, P)
    tables = [solved(clean, Q) for Q in (P, *_at_tied(clean, P, peaks))]
    if len(windows) < 2:
        return best_of(clean, tables)
    return _best_of_several(clean, P, free, windows, _beside(clean, P, peaks, continuum), tables[1:])


def _best_of_several(
    fits: SampleColumns,
    P: np.ndarray,
    free: Sequence[Term],
    windows: Sequence[Window],
    continuum: Beside,
    tables: list[np.ndarray],
) -> np.ndarray:
    """The best of ``tables``, of peaks as they were found, and of halves of the first window: lines may blend."""
    first = windows[0]
    tables = [solved(fits, _in_order(fits, P, free, windows)), *tables]
    for distance, part in _SPLITS:
        away, extent = distance * first.extent, part * first.extent
        halves = [Window(first.centre + sign * away, extent, first.height, first.drop) for sign in (-1, 1)]
        some = [*halves, *windows[2:]]
        Q = P
        for peak, window in zip(free, some, strict=True):
            Q = _placed(fits, Q, peak, window)
        some, Q = _again(fits, Q, free, some, continuum)
        tables.append(solved(fits, _in_order(fits, Q, free, some)))
    return best_of(fits, tables)


def _at_tied(fits: SampleColumns, P: np.ndarray, peaks: Sequence[Term]) -> list[np.ndarray]:
    """Parameters with a peak moved so that one whose place is tied comes to lie where the peak was found."""
    tied, moved = fits.problem.with_ties(P), []
    places = [peak.at[PEAKS[type(peak.model)].place] for peak in peaks]
    for other in (j for j in places if fits.problem.tied[j]):
        for j in (j for j in places if fits.asked[j]):
            Q = P.copy()
            Q[j] = np.clip(P[j] - (tied[other] - P[j]), fits.lower[j], fits.upper[j])
            moved.append(np.where(np.isfinite(Q), Q, P))
    return moved


def best_of(fits: SampleColumns, candidates: Sequence[np.ndarray]) -> np.ndarray:
    """Of tables (K, b) the parameters with the lowest chi-square, fit by fit; the first where none has any."""
    if len(candidates) == 1:
        return candidates[0]
    chi2 = np.stack([chi_square(fits, P) for P in candidates])
    best = np.argmin(chi2, axis=0)
    return np.take_along_axis(np.stack(candidates), best[None, None], axis=0)[0]


def _searched(
    fits: SampleColumns, P: np.ndarray, peaks: Sequence[Term], continuum: np.ndarray
) -> tuple[list[Window], np.ndarray]:
    """The windows of the peaks that are searched, and parameters (K, b) by them."""
    free = _free(fits, peaks)
    beside = _beside(fits, P, peaks, continuum)
    windows: list[Window] = []
    for number, peak in enumerate(free):
        windows.append(_window(fits, beside, peak))
        P = _placed(fits, P, peak, windows[-1])
        if number + 1 < len(free):
            beside = beside.with_peak(fits, P, peak)
    return windows, P


def _again(
    fits: SampleColumns, P: np.ndarray, free: Sequence[Term], windows: Sequence[Window], continuum: Beside
) -> tuple[list[Window], np.ndarray]:
    """Each peak in turn anew, beside the others as they are."""
    windows = list(windows)
    for number, peak in enumerate(free):
        beside = continuum
        for other in free:
            if other is not peak:
                beside = beside.with_peak(fits, P, other)
        windows[number] = _window(fits, beside, peak)
        P = _placed(fits, P, peak, windows[number])
    return windows, P


@dataclass(frozen=True)
class Beside:
    """What a peak is searched beside: orthonormal columns, and the data without them."""

    basis: Basis
    z: np.ndarray

    def with_peak(self, fits: SampleColumns, P: np.ndarray, peak: Term) -> Beside:
        """The shape of a peak as well."""
        top = peak.at[PEAKS[type(peak.model)].height]
        at_one = [np.ones(P.shape[1]) if j == top else P[j] for j in peak.at.values()]
        column = np.asarray(peak.model.evaluate(fits.inputs[0], *at_one))
        basis = self.basis.with_column(np.where(np.isfinite(column), column, 0.0), fits.W)
        q = basis.columns[-1]
        return Beside(basis, self.z - inner(fits.W * q, self.z) * q)


def _beside(fits: SampleColumns, P: np.ndarray, peaks: Sequence[Term], continuum: np.ndarray) -> Beside:
    """The continuum; its columns are made once where all fits share them."""
    P = P.copy()
    for peak in peaks:
        P[peak.at[PEAKS[type(peak.model)].height]] = 0.0
    if fits.inputs[0].shape[1] == 1 and np.array_equal(
        P[continuum], np.broadcast_to(P[continuum][:, :1], P[continuum].shape)
    ):
        P = np.ascontiguousarray(P[:, :1])
    zero, columns = columns_at(fits, P, fits.linear & continuum)
    basis = Basis.of(columns, fits.W)
    y = np.where(fits.W > 0.0, fits.y - zero, 0.0) if np.any(zero != 0.0) else fits.y
    return Beside(basis, basis.removed(y, fits.W)[0])


def _free(fits: SampleColumns, peaks: Sequence[Term]) -> list[Term]:
    """Peaks whose place no tie gives."""
    return [peak for peak in peaks if not fits.problem.tied[peak.at[PEAKS[type(peak.model)].place]]]


def _window(fits: SampleColumns, beside: Beside, peak: Term) -> Window:
    x = fits.inputs[0]
    window = best_window(beside.z, fits.W, x, beside.basis, _wish(fits, peak))
    if type(peak.model).__name__ == "Box1D":
        window = between_edges(beside.z, fits.W, x, beside.basis, window)
    return window


def _held(fits: SampleColumns, peak: Term) -> dict[str, np.ndarray]:
    """Parameters of a peak that keep their start."""
    stays = ~fits.asked & ~fits.problem.tied
    return {name: fits.start[j] for name, j in peak.at.items() if stays[j]}


def _wish(fits: SampleColumns, peak: Term) -> Wish:
    kind, held = PEAKS[type(peak.model)], _held(fits, peak)
    b = fits.y.shape[1]
    at, top = peak.at[kind.place], peak.at[kind.height]
    low, high = fits.lower[at], fits.upper[at]
    if kind.place in held:
        low = high = held[kind.place]
    extent = kind.extent(held)
    sizes = [name for name in peak.at if name not in (kind.place, kind.height, *held)]
    shortest = kind.extent(held | {name: np.maximum(fits.lower[peak.at[name]], 0.0) for name in sizes})
    longest = kind.extent(held | {name: fits.upper[peak.at[name]] for name in sizes})
    positive, negative = fits.upper[top] > 0.0, fits.lower[top] < 0.0
    if kind.height in held:
        positive, negative = held[kind.height] > 0.0, held[kind.height] < 0.0
    if peak.sign < 0:
        positive, negative = negative, positive
    extent = np.full(b, np.nan) if extent is None else extent
    shortest = np.zeros(b) if shortest is None else shortest
    longest = np.full(b, np.inf) if longest is None else longest
    return Wish(low, high, shortest, np.where(longest > 0.0, longest, np.inf), extent, positive, negative)


def _placed(fits: SampleColumns, P: np.ndarray, peak: Term, window: Window) -> np.ndarray:
    """The parameters with those of a peak where the window is; as they were where none was found."""
    kind, held = PEAKS[type(peak.model)], _held(fits, peak)
    values = {kind.place: window.centre} | kind.shape(window.extent, peak.sign * window.height, held)
    return with_values(fits, P, peak, values, np.isfinite(window.height))


def _in_order(fits: SampleColumns, P: np.ndarray, peaks: Sequence[Term], windows: Sequence[Window]) -> np.ndarray:
    """Windows given to peaks by their place, among those that may be in the same range."""
    left = list(range(len(peaks)))
    while left:
        first = _wish(fits, peaks[left[0]])
        group = [k for k in left if _alike(first, _wish(fits, peaks[k]))]
        left = [k for k in left if k not in group]
        if len(group) == 1:
            P = _placed(fits, P, peaks[group[0]], windows[group[0]])
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
