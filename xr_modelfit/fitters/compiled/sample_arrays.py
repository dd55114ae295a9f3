"""Samples and tables as compiled loops take them."""

from __future__ import annotations

import numpy as np

from xr_modelfit.fitters.samples import Samples

__all__ = ["arrays_of", "tables_of"]


def arrays_of(samples: Samples) -> tuple[np.ndarray, ...]:
    """The ``samples`` of `fitters.compiled.levenberg.solve_all`."""
    y = samples.y
    nothing, none = np.zeros((0, y.shape[1])), np.zeros((1, 0))
    if samples.sampling is not None:
        valid, inputs, y, w = nothing.astype(bool), samples.inputs, y, samples.weights
        if samples.sampling.disjoint and not samples.all_valid:
            valid = np.array(samples.valid, order="C")  # samples that are left out are then as if they were not there
        else:
            inputs, y, w = samples.in_rows()
        rows = max(x.shape[0] for x in inputs[:-1])
        x = np.stack([np.broadcast_to(x, (rows, x.shape[1])) for x in inputs[:-1]])
        # Copies: what cannot be written to has another type, for which the loop would be compiled anew.
        w = nothing if w is None else np.array(w, order="C")
        return np.array(y, order="C"), x, w, valid, np.array(inputs[-1], order="C")
    columns = [*samples.inputs] if samples.above is None else [*samples.inputs, samples.above]
    rows = max(x.shape[0] for x in columns)
    x = np.stack([np.broadcast_to(x, (rows, y.shape[1])) for x in columns])
    weights = nothing if samples.weights is None else np.ascontiguousarray(samples.weights)
    valid = nothing.astype(bool) if samples.all_valid else np.ascontiguousarray(samples.valid)
    return np.ascontiguousarray(y), x, weights, valid, none


def tables_of(*tables: np.ndarray) -> list[np.ndarray]:
    """Tables of parameters, (b, K) each, or (1, K) where all fits share a row of memory."""
    return [np.ascontiguousarray(t if t.strides[0] or not len(t) else t[:1], dtype=float) for t in tables]
