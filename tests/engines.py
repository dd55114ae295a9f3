"""Every block of a test run fitted by both engines of `BatchLSQFitter`, and compared: ``pytest -p engines``.

Run it as ``PYTHONPATH=tests python -m pytest -p engines``. Models that cannot be compiled, linear ones and fits in
other processes run as they would without it.
"""

from dataclasses import replace

import numpy as np
import pytest

from xr_modelfit import request
from xr_modelfit.compiled.choice import compiled_source
from xr_modelfit.fitters import block

TOLERANCE = 1e-6  # of a standard error: what both engines promise for fits that converged


@pytest.fixture(autouse=True)
def _both_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    def always(problem, inputs, engine, n_fits, n_samples, lazy):
        return compiled_source(problem, inputs, "numba" if engine == "auto" else engine, n_fits, n_samples, lazy)

    monkeypatch.setattr(request, "compiled_source", always)
    monkeypatch.setattr(request, "fit_block", compared)


def compared(*arrays: np.ndarray, task: block.BlockTask) -> np.ndarray:
    """What the compiled engine gives, which must be what the other gives."""
    packed = block.fit_block(*arrays, task=task)
    if task.problem.source is None or task.diagnosis is not None:
        return packed
    other = block.fit_block(*arrays, task=replace(task, problem=replace(task.problem, source=None), raising=False))
    fields = task.layout.fields()
    mine, theirs = ({name: a[..., part] for name, part in fields.items()} for a in (packed, other))
    n = int(np.prod(packed.shape[:-1]))
    free = task.problem.free
    converged = (mine["fit_status"] > 0) & (theirs["fit_status"] > 0)
    names = "parameters", "stderr"
    (p, e), (q, f) = ([one[name][converged[..., 0]] for name in names] for one in (mine, theirs))
    scale = np.where((f > 0) & np.isfinite(f), f, np.inf)
    far = np.abs(p - q) / scale
    same = np.all(far <= TOLERANCE, axis=-1)
    with np.errstate(all="ignore"):
        errors = np.abs(e - f) <= 1e-4 * f
    errors |= np.isnan(e) & np.isnan(f)
    a, b = (one["fit_status"][..., 0] for one in (mine, theirs))
    lines = []
    if not same.all():
        lines.append(f"{np.count_nonzero(~same)} of {n} fits apart by up to {np.max(far):.2g} standard errors")
    if not errors[same].all():
        lines.append(f"errors of {np.count_nonzero(~errors[same].all(axis=-1))} of {n} fits differ")
    if np.any(a != b):
        pairs, counts = np.unique(np.stack([a[a != b], b[a != b]]), axis=1, return_counts=True)
        found = dict(zip(map(tuple, pairs.T.astype(int).tolist()), counts.tolist(), strict=True))
        lines.append(f"status (numba, numpy): {found} of {n}")
    if lines:
        model = type(task.problem.model).__name__, task.problem.names, free.tolist()
        raise AssertionError("; ".join(lines) + f"; {model}")
    return packed
