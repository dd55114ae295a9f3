"""Sines and cosines of unknown frequency, one after the other, the strongest first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.modeling import models

from xr_modelfit.estimates.cleaning import cleaned
from xr_modelfit.estimates.columns import SampleColumns, inner
from xr_modelfit.estimates.linear_part import Basis, columns_at, solved
from xr_modelfit.estimates.periodogram import FINE, best_frequency, even_length
from xr_modelfit.estimates.terms import Term
from xr_modelfit.fitters.chunking import at_least_two

__all__ = ["with_waves"]

_MOST = 2**21  # even times of a fit, at most
_AT_ONCE = 2**19  # of several fits
_HIGHEST = 64  # times the frequency that even times could tell: bounds may ask for more than that


def with_waves(fits: SampleColumns, P: np.ndarray, waves: Sequence[Term], continuum: np.ndarray) -> np.ndarray:
    """Parameters (K, b) with those of the waves, and linear ones, estimated; arguments as in `lines.with_lines`."""
    at_once = max(2, _AT_ONCE // even_length(_n_steps(fits, waves)))
    b = fits.y.shape[1]
    found = P.copy()
    for first in range(0, b, at_once):
        ids = np.minimum(np.arange(first, min(first + at_once, b) + (b - first == 1)), b - 1)  # never one alone
        found[:, ids] = _searched(fits.only(ids), P[:, ids], waves, continuum)
    return found


def _searched(fits: SampleColumns, P: np.ndarray, waves: Sequence[Term], continuum: np.ndarray) -> np.ndarray:
    fits, _ = cleaned(fits)
    P = P.copy()
    for wave in waves:
        P[wave.at["amplitude"]] = 0.0
    zero, columns = columns_at(fits, P, fits.linear & continuum)
    basis = Basis.of(columns, fits.W)
    beside = basis, np.where(fits.W > 0.0, fits.y - zero, 0.0)
    z, _ = basis.removed(beside[1], fits.W)
    x, n_steps = fits.inputs[0], _n_steps(fits, waves)
    length = np.where(x[-1] > x[0], x[-1] - x[0], 1.0)
    frequencies = []
    for wave in waves:
        at = wave.at["frequency"]
        if fits.asked[at]:
            low, high = (bound[at] * length for bound in (fits.lower, fits.upper))
            f = best_frequency(z, fits.W, (x - x[0]) / length, basis, low, high, n_steps) / length
            f = np.where(np.isfinite(f), f, np.clip(fits.start[at], fits.lower[at], fits.upper[at]))
        else:
            f = fits.start[at]
        frequencies.append(f)
        for column in _pair(f, x) if wave is not waves[-1] else ():
            basis = basis.with_column(column, fits.W)
            q = basis.columns[-1]
            z = z - inner(fits.W * q, z) * q
    return _phased(fits, P, waves, _ranked(fits, waves, frequencies), fits.linear & continuum, beside)


def _n_steps(fits: SampleColumns, waves: Sequence[Term]) -> int:
    """Up to the mean Nyquist frequency; a bound that is the same for all fits may ask for more or for less."""
    x, n = fits.inputs[0], fits.y.shape[0]
    usual = FINE * n // 2
    highest = max(fits.problem.upper[wave.at["frequency"]] for wave in waves)
    if x.shape[1] > 1 or not np.isfinite(highest):
        return usual
    steps = np.ceil(FINE * highest * (x[-1, 0] - x[0, 0])) + FINE
    return int(np.clip(steps, FINE, max(usual, min(usual * _HIGHEST, _MOST))))


def _pair(f: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
    angle = 2.0 * np.pi * f * x
    return [np.sin(angle), np.cos(angle)]


def _ranked(fits: SampleColumns, waves: Sequence[Term], found: list[np.ndarray]) -> list[np.ndarray]:
    """Frequencies in the order of the starts, where all of them are free within the same bounds."""
    places = [wave.at["frequency"] for wave in waves]
    same = all(np.array_equal(bound[j], bound[places[0]]) for bound in (fits.lower, fits.upper) for j in places)
    if len(waves) < 2 or not same or not fits.asked[places].all():
        return found
    rank = np.argsort(np.argsort(fits.start[places], axis=0, kind="stable"), axis=0, kind="stable")
    return list(np.take_along_axis(np.sort(np.stack(found), axis=0), rank, axis=0))


def _phased(
    fits: SampleColumns,
    P: np.ndarray,
    waves: Sequence[Term],
    frequencies: Sequence[np.ndarray],
    linear: np.ndarray,
    continuum: tuple[Basis, np.ndarray],
) -> np.ndarray:
    """Parameters with the frequencies, and phases and amplitudes by linear least squares.

    ``continuum``: the columns of its ``linear`` parameters (K,), and the data (n, b) without the rest of it.
    """
    basis, y = continuum
    n_columns = len(basis.columns)
    for f in frequencies:
        for column in _pair(f, fits.inputs[0]):
            basis = basis.with_column(column, fits.W)
    _, shares = basis.removed(y, fits.W)
    found = basis.coefficients(shares)
    wanted, factors = P.copy(), found[n_columns:]
    for j, factor in zip(np.flatnonzero(linear).tolist(), found, strict=False):
        wanted[j] = factor
    for number, (wave, f) in enumerate(zip(waves, frequencies, strict=True)):
        s, c = (wave.sign * factor for factor in factors[2 * number : 2 * number + 2])
        angle = np.arctan2(c, s) if type(wave.model) is models.Sine1D else np.arctan2(-s, c)
        amplitude, phase = np.hypot(s, c), angle / (2.0 * np.pi)
        at = wave.at
        negative = fits.upper[at["amplitude"]] <= 0.0
        amplitude, phase = np.where(negative, -amplitude, amplitude), np.where(negative, phase + 0.5, phase)
        low, high = fits.lower[at["phase"]], fits.upper[at["phase"]]
        phase = phase + np.round(np.where(np.isfinite(fits.start[at["phase"]]), fits.start[at["phase"]], 0.0) - phase)
        phase = phase + np.where(phase < low, 1.0, 0.0) - np.where(phase > high, 1.0, 0.0)
        for name, value in (("amplitude", amplitude), ("frequency", f), ("phase", phase)):
            wanted[at[name]] = value
    P = np.where(fits.asked[:, None], np.clip(wanted, fits.lower, fits.upper), P)
    for wave in waves:
        for j in (j for j in wave.at.values() if not fits.asked[j]):
            P[j] = fits.start[j]
    return _with_rest(fits, P, wanted)


def _with_rest(fits: SampleColumns, P: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Parameters with the linear ones solved for, where some could not be what they should."""
    if fits.problem.tied.any():
        return solved(fits, P)
    others = at_least_two(np.flatnonzero(np.any(wanted != P, axis=0)))
    if others.size:
        P[:, others] = solved(fits.only(others), P[:, others])
    return P
