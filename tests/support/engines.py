"""Every block of a test run fitted by both engines of `BatchLSQFitter`, and compared.

``PYTHONPATH=tests python -m pytest -p support.engines``. The compiled engine gives the answers that the tests see.
Models that cannot be compiled, linear ones, and fits in other processes run as they would without it.

Where fits converged in both, parameters must agree to `TOLERANCE`; where rounding is all that is left of the data,
chi-square must be so in both. From bad data and bad starts the last bits may lead to different minima, told by
chi-square, or one engine to its minimum and the other not, and what data hardly determine differs by more: such fits
are counted, and told in the summary.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from xr_modelfit.call import job, resolve
from xr_modelfit.fitters import block
from xr_modelfit.fitters.block_task import BlockTask
from xr_modelfit.fitters.compiled.choice import compiled_source

TOLERANCE = 1e-6  # of a standard error
# Rounding hides the minimum by more than the tolerance, as the test means it to.
EXEMPT = ("test_a_fit_that_ends_where_rounding_hides_its_minimum_has_converged",)
SEEN: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _both_engines(monkeypatch: pytest.MonkeyPatch, request_: pytest.FixtureRequest) -> None:
    def always(problem, inputs, engine, n_fits, n_samples):
        return compiled_source(problem, inputs, "numba" if engine == "auto" else engine, n_fits, n_samples)

    monkeypatch.setattr(resolve, "compiled_source", always)
    if not request_.node.name.startswith(EXEMPT):
        monkeypatch.setattr(job, "fit_block", compared)


@pytest.fixture
def request_(request: pytest.FixtureRequest) -> pytest.FixtureRequest:
    return request


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):  # of a process of pytest-xdist
        session.config.workeroutput["engines"] = dict(SEEN)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    SEEN.update(getattr(node, "workeroutput", {}).get("engines", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"engines: {dict(SEEN)}")


def compared(*arrays: np.ndarray, task: BlockTask) -> np.ndarray:
    """What the compiled engine gives, which must be what the other gives."""
    packed = block.fit_block(*arrays, task=task)
    if task.problem.source is None or task.diagnosis is not None:
        return packed
    other = block.fit_block(*arrays, task=replace(task, problem=replace(task.problem, source=None), raising=False))
    fields = task.layout.fields
    mine, theirs = ({name: np.atleast_2d(a[..., part].reshape(-1, part.stop - part.start)) for name, part in
                     fields.items()} for a in (packed, other))  # fmt: skip
    a, b = (one["fit_status"][:, 0] for one in (mine, theirs))
    good = (a > 0) & (b > 0)
    with np.errstate(all="ignore"):
        data = np.asarray(arrays[0], dtype=float)
        names = "parameters", "stderr", "chi2"
        (p, e, x), (q, f, y) = ([one[name][good] for name in names] for one in (mine, theirs))
        size = np.sqrt(np.nansum(np.where(np.abs(data) < 1e100, data, 0.0) ** 2) / a.size)
        exact = np.sqrt(y) <= 1e-9 * size
        valley = np.abs(x - y) > 1e-3 * np.minimum(x, y)
        far = np.abs(p - q) / np.where((f > 0) & np.isfinite(f), f, np.inf)
        far = np.where(exact & (np.sqrt(x) <= 1e-9 * size), 0.0, far)
        errors = (np.abs(e - f) <= 1e-3 * f) | (np.isnan(e) & np.isnan(f)) | exact
        vague = f > 1e3 * np.abs(q)
        errors |= vague
    same = np.all(far <= TOLERANCE, axis=1)
    apart = ~same & ~(valley & ~exact)[:, 0]
    undetermined = apart & vague.any(axis=1)  # hardly of full rank: an error is a thousand times its parameter
    apart &= ~undetermined
    SEEN["hardly of full rank, and apart"] += int(undetermined.sum())
    name = f"{type(task.problem.model).__name__}{task.problem.names}"
    SEEN["fits"] += a.size
    SEEN["converged in both"] += int(good.sum())
    SEEN["other minimum"] += int(np.count_nonzero(~same & ~apart & ~undetermined))
    for mine_, theirs_ in zip(a[a != b].tolist(), b[a != b].tolist(), strict=True):
        SEEN[f"numba {mine_:.0f}, numpy {theirs_:.0f}"] += 1
    assert not apart.any(), _told(apart, far, (p, q), (x, y), mine["dof"][good], name)
    assert errors[same].all(), f"errors of {a.size} fits: {name}; {e[~errors]}, {f[~errors]}"
    return packed


def _told(apart, far, parameters, chi2, dof, name):
    first = np.flatnonzero(apart)[0]
    (p, q), (x, y) = ((a[first], b[first]) for a, b in (parameters, chi2))
    apart_ = f"{apart.sum()} of {apart.size} fits apart by up to {far[apart].max():.2g}"
    return f"{apart_}: {name}; numba {p}, numpy {q}, chi2 {x}, {y}, dof {dof[first]}"
