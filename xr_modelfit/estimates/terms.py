"""A model as a sum of terms that are estimated in different ways."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.modeling import Model, models

from xr_modelfit.estimates.columns import SampleColumns
from xr_modelfit.estimates.peaks import PEAKS
from xr_modelfit.estimates.plane_peaks import PLANE_PEAKS
from xr_modelfit.models.expression import parts_of
from xr_modelfit.models.problem import Problem

__all__ = ["WAVES", "Term", "Terms", "terms_of", "with_values"]

WAVES = (models.Sine1D, models.Cosine1D)


@dataclass(frozen=True)
class Term:
    """One of them, with the places of its parameters among those of the whole, and its sign in the sum."""

    model: Model
    at: Mapping[str, int]
    sign: int


@dataclass(frozen=True)
class Terms:
    """Peaks and waves whose place or frequency is asked for, and the parameters of all other terms."""

    peaks: tuple[Term, ...]
    plane_peaks: tuple[Term, ...]
    waves: tuple[Term, ...]
    others: np.ndarray  # (K,), parameters of other terms


def terms_of(problem: Problem, asked: np.ndarray) -> Terms:
    """The terms of a model; ``asked`` (K,) are the parameters to estimate."""
    found: dict[str, list[Term]] = {"peaks": [], "plane_peaks": [], "waves": []}
    others = np.zeros(problem.n_parameters, dtype=bool)
    linear = problem.partly_linear
    parts = parts_of(problem.model)
    for part in parts if all(p.additive for p in parts) else ():
        own = np.array(part.parameters, dtype=int)
        term = Term(part.model, dict(zip(part.model.param_names, part.parameters, strict=True)), part.sign)
        searched = bool(np.any(asked[own] & ~linear[own]))
        for name, table in (("peaks", PEAKS), ("plane_peaks", PLANE_PEAKS), ("waves", WAVES)):
            if searched and type(part.model) in table:
                found[name].append(term)
                break
        else:
            others[own] = True
    if not any(found.values()):
        others[:] = True
    return Terms(tuple(found["peaks"]), tuple(found["plane_peaks"]), tuple(found["waves"]), others)


def with_values(
    fits: SampleColumns, P: np.ndarray, term: Term, values: Mapping[str, Any], found: np.ndarray
) -> np.ndarray:
    """Parameters (K, b) with the ``values`` of a term, inside their bounds; its starts where it was not ``found``."""
    P = P.copy()
    for name, value in values.items():
        j = term.at[name]
        if fits.asked[j]:
            P[j] = np.where(found, np.clip(value, fits.lower[j], fits.upper[j]), fits.start[j])
    return P
