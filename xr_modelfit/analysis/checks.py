"""Ties and models that fail at the start values are refused before any sample is read.

They would fail at every position, and the user wants the exception, not a map of failures. A failure for some values or
coordinates only is left to the fits that meet it.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import numbers
from collections.abc import Callable, Iterator
from textwrap import shorten
from typing import Any

import numpy as np
from astropy.units import Quantity, dimensionless_unscaled

from xr_modelfit.analysis.probing import coordinates_near
from xr_modelfit.messages import a, listed, sentence
from xr_modelfit.models.expression import evaluate_tree
from xr_modelfit.models.function_models import function_of
from xr_modelfit.models.problem import Inputs, Problem
from xr_modelfit.models.ties import TieInUnits
from xr_modelfit.quiet import caught_warnings

__all__ = ["refuse_broken"]

_PAIRS = 16  # of neighbouring samples, for models that refuse some coordinates
# Not the fault of the code: workers may have the file, the module, the memory.
_ENVIRONMENT_ERRORS = (RuntimeError, OSError, ImportError, MemoryError)
_CODE_ERRORS = (NameError, AttributeError, TypeError, NotImplementedError)  # whatever the coordinates

_NEEDED = "an array of numbers is needed, one for each coordinate"


class _WrongReturnError(ValueError):
    """A tie or model returns no number, or the wrong number of them; the message says what."""


def refuse_broken(
    problem: Problem, inputs: Inputs, whole: Callable[[], Inputs], mapped: np.ndarray, known: bool
) -> None:
    """Raise `ValueError` where a tie or the model fails at the start values, wherever it is tried.

    The traits of ``problem`` are known. ``inputs`` (n,) are coordinates to try, ``whole`` gives all those of a fit, and
    ``known`` says whether fits will have them. Starts of the ``mapped`` parameters (K,) vary from fit to fit.
    """
    with caught_warnings(), np.errstate(all="ignore"):
        broken = _broken_tie(problem, mapped)
        error = None if broken else _model_error(problem, inputs, whole, mapped, known)
    if broken:
        _refuse_tie(problem, *broken)
    if error is None:
        return
    name = f"model {type(problem.model).__name__}"
    mend = "Call it by itself, model(x), and fix its evaluate"
    if function_of(type(problem.model)) is not None:
        mend = "Call the function by itself, and correct it"
    if isinstance(error, _WrongReturnError):
        raise ValueError(f"{name} does not suit the data: {sentence(error)} {mend}.")
    one_number = isinstance(error, TypeError) and "convert" in str(error) and "scalar" in str(error)
    why = " Functions of math take one number; numpy's take arrays: np.exp for math.exp." if one_number else ""
    if isinstance(error, TypeError) and "NoneType" in str(error):
        why = " A function without return returns None: is a return missing?"
    raise ValueError(
        f"{name} raises {type(error).__name__} at its start values: {sentence(error)}{why} {mend}; if it "
        "cannot have these values, set others by p0={...}."
    ) from error


def _points(problem: Problem, mapped: np.ndarray) -> Iterator[np.ndarray]:
    """The start, and other values of the parameters whose starts are ``mapped``."""
    yield problem.start
    if mapped.any():
        size = 1.0 + np.abs(problem.start)
        for other in (size, -size, 0.5, 1e-3 * size, 1e3 * size):
            yield np.where(mapped, np.clip(other, problem.lower, problem.upper), problem.start)


def _broken_tie(problem: Problem, mapped: np.ndarray) -> tuple[int, Exception] | None:
    """The tie that does not work at the start, and why; None where all ties work somewhere."""
    first = None
    for point in _points(problem, mapped):
        broken = _broken_tie_at(problem, point)
        if broken is None:
            return None
        first = first or broken
    return first


def _broken_tie_at(problem: Problem, point: np.ndarray) -> tuple[int, Exception] | None:
    """The first tie that does not work at ``point``, and why."""
    values = np.array(point)
    ties = [(j, tie) for j, tie in enumerate(problem.ties) if tie is not None]
    for _ in ties:  # a tie may read a parameter that is tied after it
        for j, tie in ties:
            problem.model.parameters = values
            try:
                values[j] = _one_number(tie(problem.model))
            except Exception as error:
                return j, error
    for j, _ in ties:
        if not np.isfinite(values[j]):
            return j, _WrongReturnError(f"gives {values[j]}")
    return None


def _one_number(value: Any) -> float:
    if isinstance(value, Quantity) and value.unit != dimensionless_unscaled:
        raise _WrongReturnError(f"gives a Quantity in {str(value.unit)!r}, but the parameter has no unit")
    try:
        array = np.asarray(value)
    except ValueError:  # of several sizes
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise _WrongReturnError(f"gives {shorten(repr(value), 60)}, {a(value)}")
    if array.size != 1:
        raise _WrongReturnError(f"gives an array of shape {array.shape}")
    return float(array.reshape(()))


def _refuse_tie(problem: Problem, j: int, error: Exception) -> None:
    names, tie = problem.model.param_names, problem.ties[j]
    others = [names[i] for i in np.flatnonzero(problem.free).tolist()] or list(names)
    alike = [n for n in others if n.split("_")[0] == names[j].split("_")[0]] or others
    example = f"for example lambda m: 2 * m.{alike[0]}"
    what = f"{error}." if isinstance(error, _WrongReturnError) else f"raises {type(error).__name__}: {sentence(error)}"
    advice = f"A tie takes the model and returns one finite number, {example}"
    if isinstance(tie, TieInUnits) and any(unit is not None for unit in tie.units):
        advice = (
            f"A tie takes the model, whose parameters have their units, and returns a value with its unit, {example}; "
            "only a Quantity can be added to a Quantity"
        )
    raise ValueError(
        f"model.{names[j]}.tied {what} It was called at the start values. {advice}. The parameters are {listed(names)}."
    ) from (None if isinstance(error, _WrongReturnError) else error)


def _model_error(
    problem: Problem, inputs: Inputs, whole: Callable[[], Inputs], mapped: np.ndarray, known: bool
) -> Exception | None:
    """What the model raises at the start, on any coordinates; None where it can be evaluated somewhere."""
    first: Exception | None = None
    for point in _points(problem, mapped):
        try:
            values = problem.with_ties(point)
        except Exception:  # ties that raise for some values only
            continue
        for at in _coordinates(problem, inputs, whole):
            try:
                _evaluate(problem, at, values)
            except _WrongReturnError as error:
                return error
            except _ENVIRONMENT_ERRORS as error:
                if not isinstance(error, NotImplementedError):
                    return None
                first = first or error
            except Exception as error:
                if not known and not isinstance(error, _CODE_ERRORS):
                    return None
                first = first or error
            else:
                return None
    return first


def _coordinates(problem: Problem, inputs: Inputs, whole: Callable[[], Inputs]) -> Iterator[Inputs]:
    """Coordinates to try: those given, all of them, parts of them, and numbers about the start."""
    yield inputs
    every = whole()
    n = every[0].size
    if problem.traits.grid is None:  # otherwise the model needs all of them, in their order
        yield every
        for start in np.unique(np.linspace(0, max(n - 2, 0), _PAIRS).astype(int)).tolist():
            yield [x[start : start + 2] for x in every]
    yield coordinates_near(problem.start, n, len(inputs))


def _evaluate(problem: Problem, at: Inputs, values: np.ndarray) -> None:
    grid = problem.traits.grid
    at = at if grid is None else [grid.shaped(x) for x in at]
    returned = evaluate_tree(problem.model, at, list(values), writes_inputs=True)
    try:
        found = np.asarray(returned)
    except ValueError:  # of several sizes
        raise _WrongReturnError(f"it returns {a(returned)} of several sizes; {_NEEDED}") from None
    if found.dtype.kind == "c":
        raise _WrongReturnError(
            "it returns complex numbers, and these are real. Let it return real ones, such as its real part or np.abs. "
            "To fit both parts, give the data a dim for them and the model an input that tells which part it returns"
        )
    if (what := _no_numbers(found)) is not None:
        raise _WrongReturnError(f"it returns {what}; {_NEEDED}")
    try:
        np.broadcast_to(found, at[0].shape)
    except ValueError:
        shape = at[0].shape if len(at[0].shape) > 1 else at[0].size
        raise _WrongReturnError(
            f"for {shape} coordinates it returns values of shape {found.shape}; one value for each is needed, so a "
            'convolution needs mode="same"'
        ) from None


def _no_numbers(found: np.ndarray) -> str | None:
    """What a model returns, in words, if that is no real numbers; numpy would make NaN of None, and go on."""
    if found.dtype.kind in "biuf":
        return None
    if found.dtype.kind != "O":
        return f"values of dtype {found.dtype}"
    wrong = next((one for one in found.reshape(-1).tolist() if not isinstance(one, numbers.Real)), 0.0)
    if wrong is None:
        return "None (is its return missing?)"
    return None if isinstance(wrong, numbers.Real) else a(wrong)
