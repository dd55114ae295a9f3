"""What is written about single fits: a folder for each, with its logs, and the user's function.

Writing never stops a fit and never changes one: whatever goes wrong here ends in the folder, or
is counted.
"""

import re
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xr_modelfit.fitters.contract import Notes
from xr_modelfit.fitters.position_model import position_model
from xr_modelfit.fitters.samples import Samples
from xr_modelfit.models.problem import Problem
from xr_modelfit.quiet import caught_warnings, inner_fits
from xr_modelfit.status import FitStatus

__all__ = ["CALLABLE_LOG", "ERROR_LOG", "WARN_LOG", "Diagnosis", "Ended", "folder_name"]

ERROR_LOG, WARN_LOG, CALLABLE_LOG = "error.log", "warn.log", "callable.log"

_UNFIT = re.compile(r'[<>:"/\\|?*\x00-\x1f]|[. ]+$|^$')  # on one system or another


def folder_name(name: object) -> str:
    """A name as a part of a path: what some file system refuses becomes ``_``."""
    return _UNFIT.sub("_", str(name))


@dataclass(frozen=True)
class Ended:
    """The fits of a block when all is over."""

    problem: Problem
    samples: Samples  # as given to the fitter
    places: Sequence[np.ndarray]  # the coordinates of the samples, (b, n) or (1, n) each
    masked: bool  # the call says which samples are used
    fitted: tuple[int, ...]  # shape of the samples of a fit
    positions: Mapping[str, np.ndarray]  # index of each fit along each remaining dim, (b,)
    status: np.ndarray  # (b,)
    bounds: tuple[np.ndarray, np.ndarray]  # (b, K) each
    numbers: Mapping[str, np.ndarray]  # fields of the packed array (b, ...), the last iterate and the start
    notes: Notes

    def folder(self, i: int) -> str:
        """Its name, ``y=0_x=3``; ``fit`` where there is one fit only."""
        return "_".join(f"{folder_name(dim)}={at[i]}" for dim, at in self.positions.items()) or "fit"

    def number(self, name: str, i: int) -> float:
        return float(self.numbers[name][i, 0])

    def errorless(self, i: int) -> bool:
        """Whether a fit is good, with no parameter on a bound, and yet has no errors."""
        return bool(self.status[i] == FitStatus.CONVERGED and np.isnan(self.numbers["stderr"][i]).any())


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Which fits are written about, where, and how; picklable if ``function`` is."""

    level: Literal["error", "error+warn", "all"]
    path: str
    function: Callable[..., Any] | None = None  # (path, world, data, weights, model, fitter_kwargs), for each folder
    keywords: Mapping[str, Any] = field(default_factory=dict)  # of the fitter's call
    axes: tuple[int, ...] = (0,)  # order of the fitted dims for ``function``
    shown: tuple[tuple[float, str], ...] = ()  # divisor of each parameter to be in the unit of the result, and the unit
    foreign: bool = False  # the fitter is astropy's: the traceback alone tells what it raised

    def write(self, fits: Ended) -> np.ndarray:
        """Write about the fits of a block; bool of shape (b,), True where that was not possible."""
        unwritten = np.zeros(fits.status.size, dtype=bool)
        attempted = (fits.status != FitStatus.NO_DATA) & (fits.status != FitStatus.NOT_ATTEMPTED)
        for i in np.flatnonzero(attempted).tolist():
            logs = self._logs(fits, i)
            if logs or self.level == "all":
                unwritten[i] = not self._fill(Path(self.path, fits.folder(i)), logs, fits, i)
        return unwritten

    def _logs(self, fits: Ended, i: int) -> dict[str, str]:
        """What there is to write about a fit, by the name of the file."""
        logs = {ERROR_LOG: self._why(fits, i)} if fits.status[i] <= 0 else {}
        if self.level != "error":
            lines = list(fits.notes.warnings.get(i, ()))
            if not self.foreign and fits.errorless(i):
                lines.append(_no_errors(fits, i))
            if lines:
                logs[WARN_LOG] = "".join(f"{line}\n" for line in lines)
        return logs

    def _why(self, fits: Ended, i: int) -> str:
        """Why a fit failed, and how far it came."""
        raised = fits.notes.tracebacks.get(i, "")
        if raised and self.foreign:
            return raised
        status, parameters = FitStatus(int(fits.status[i])), fits.numbers["parameters"][i]
        lines = [f"{status.meaning}: {status.sentence}", ""]
        if np.isfinite(parameters).any():
            lines += ["last iterate", *self._listed(fits, parameters, i)]
        else:
            lines += ["no iterate; start", *self._listed(fits, fits.numbers["start"][i], i)]
        told = {"chi2": "chi2", "samples": "n_points", "dof": "dof", "iterations": "n_iter"}
        numbers = {word: fits.number(name, i) for word, name in told.items()}
        lines += ["", *(f"{word:12}{n:.10g}" if word == "chi2" else f"{word:12}{n:.0f}" for word, n in numbers.items())]
        return "\n".join(lines) + "\n" + (f"\n{raised}" if raised else "")

    def _listed(self, fits: Ended, values: np.ndarray, i: int) -> list[str]:
        """Parameters one a line, with their bounds, in the units of the result."""
        lines = []
        for j, name in enumerate(fits.problem.names):
            divisor, unit = self.shown[j] if self.shown else (1.0, "")
            value, low, high = (float(a[j]) / divisor for a in (values, *(bound[i] for bound in fits.bounds)))
            limits = f"  in [{low:.10g}, {high:.10g}]" if np.isfinite([low, high]).any() else ""
            lines.append(f"  {name} = {value:.10g}{unit and f' {unit}'}{limits}")
        return lines

    def _fill(self, folder: Path, logs: dict[str, str], fits: Ended, i: int) -> bool:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in (ERROR_LOG, WARN_LOG):
                _put(folder / name, logs.get(name, ""))
            if self.function is not None:
                _put(folder / CALLABLE_LOG, self._call(self.function, folder, fits, i))
        except Exception:  # a full disk, a path too long: no reason to lose the fits
            return False
        return True

    def _call(self, function: Callable[..., Any], folder: Path, fits: Ended, i: int) -> str:
        """Call the user's function, one at a time in a process; what it warned of and raised."""
        raised = ""
        with caught_warnings() as caught:
            for hidden in (DeprecationWarning, PendingDeprecationWarning):  # as Python hides them
                warnings.simplefilter("ignore", hidden)
            try:
                with inner_fits():
                    function(folder, *self._arguments(fits, i), dict(self.keywords))
            except (Exception, SystemExit):
                raised = traceback.format_exc()
        return "".join(f"{one}\n" for one in caught) + raised

    def _arguments(self, fits: Ended, i: int) -> tuple[Any, ...]:
        """World, data, weights and model as `parallel_fit_dask` passes them; copies, to do anything with."""
        samples, n = fits.samples, fits.samples.y.shape[1]

        def shaped(array: np.ndarray) -> np.ndarray:
            row = np.broadcast_to(array[i if array.shape[0] > 1 else 0], (n,))
            return row.reshape(fits.fitted).transpose(self.axes).copy(order="C")

        weights = None
        if fits.masked or samples.weights is not None:
            every = np.ones((1, n)) if samples.weights is None else samples.weights
            weights = np.where(shaped(samples.valid), shaped(every), 0.0)
        parameters = fits.numbers["parameters"][i]
        model = None
        if np.isfinite(parameters).all():
            low, high = fits.bounds
            model = position_model(fits.problem, parameters, (low[i], high[i]))
        return tuple(shaped(x) for x in fits.places), shaped(samples.y), weights, model


def _no_errors(fits: Ended, i: int) -> str:
    """The one thing that the batch fitter warns of."""
    why = f"{fits.number('n_points', i):.0f} samples leave {fits.number('dof', i):.0f} degrees of freedom"
    return f"FitWarning: The parameters have no standard errors: {why}. Pass sigma, or use more samples."


def _put(path: Path, text: str) -> None:
    """Write a log; without a text, take away what an earlier run left."""
    if text:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    else:
        path.unlink(missing_ok=True)
