"""The arguments of diagnostics: checked, and made into what the blocks write."""

from __future__ import annotations

import inspect
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from xr_modelfit.fitters.diagnosis import Diagnosis, folder_name
from xr_modelfit.labels.coords import ModelInput
from xr_modelfit.messages import a, listed, sentence, suggestion
from xr_modelfit.parameter_units.parameters import ParameterUnit

__all__ = ["check_diagnostics", "diagnosis_of", "folders_of_variables", "make_folder"]

_LEVELS = ("error", "error+warn", "all")


def check_diagnostics(level: Any, path: Any, function: Any) -> None:
    """Refuse diagnostics that cannot be done; makes no folder yet."""
    if level is None:
        for name, given in (("diagnostics_path", path), ("diagnostics_callable", function)):
            if given is not None:
                raise ValueError(
                    f"{name} is {given!r}, but diagnostics is None, so nothing would be written. Say of which "
                    f"fits: diagnostics={', '.join(map(repr, _LEVELS[:-1]))} or {_LEVELS[-1]!r}."
                )
        return
    if level not in _LEVELS:
        raise ValueError(f"diagnostics is {level!r}; known are {listed(_LEVELS)}, or None.{suggestion(level, _LEVELS)}")
    if path is None:
        raise ValueError(
            f"diagnostics is {level!r}, but diagnostics_path is missing. Name a folder: diagnostics_path='fits'."
        )
    _check_path(path)
    if function is not None:
        _check_function(function)


def _check_path(path: Any) -> None:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"diagnostics_path is {a(path)}; pass the path of a folder, a str or a pathlib.Path.")
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"diagnostics_path is {a(text)}; pass the path of a folder as a str.")
    if not text or "://" in text:
        raise ValueError(f"diagnostics_path is {text!r}; pass the path of a folder on this machine's file system.")
    at = next((p for p in (Path(text), *Path(text).parents) if p.exists()), None)
    if at is not None and not at.is_dir():
        raise ValueError(f"diagnostics_path is {text!r}, but {str(at)!r} is a file. Name a folder, or remove the file.")


def _check_function(function: Any) -> None:
    six = "(path, world, data, weights, model, fitter_kwargs)"
    if not callable(function):
        raise TypeError(f"diagnostics_callable is {a(function)}; pass a function of {six}.")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some have none
        return
    try:
        signature.bind(*range(6))
    except TypeError:
        raise TypeError(
            f"diagnostics_callable takes {signature}, but it is called with six arguments {six}. Let it take them."
        ) from None


def folders_of_variables(path: Any, names: Sequence[Hashable]) -> list[Any]:
    """A folder for the fits of each variable of a Dataset; None for each where there is no path."""
    if path is None:
        return [None] * len(names)
    taken: set[str] = set()
    found = []
    for name in names:
        folder = folder_name(name)
        while folder in taken:  # "a/b" and "a:b"
            folder += "_"
        taken.add(folder)
        found.append(Path(path, folder))
    return found


def diagnosis_of(
    level: Literal["error", "error+warn", "all"] | None,
    path: Any,
    function: Any,
    data: xr.DataArray,
    fitted: tuple[Hashable, ...],
    inputs: Sequence[ModelInput],
    units: Sequence[ParameterUnit],
    keywords: Mapping[str, Any] | None,
    pointwise: bool,
) -> Diagnosis | None:
    """What the blocks write. ``keywords`` are those of an astropy fitter, else None."""
    if level is None:
        return None
    order = (_order_of_inputs(fitted, inputs) if pointwise else []) or [d for d in data.dims if d in fitted]
    return Diagnosis(
        level,
        os.path.abspath(path),  # workers may be elsewhere
        function,
        keywords={} if keywords is None else dict(keywords),
        axes=tuple(fitted.index(d) for d in order),
        shown=tuple((one.inward, one.text or "") for one in units),
        foreign=keywords is not None,
    )


def make_folder(diagnosis: Diagnosis | None) -> None:
    """Make the folder that blocks write into.

    Raises ValueError if it cannot be made, or not be written to.
    """
    if diagnosis is None:
        return
    path = diagnosis.path
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"diagnostics_path is {path!r}, which cannot be made: {sentence(error)} Name another folder."
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise ValueError(f"diagnostics_path is {path!r}, which cannot be written to. Name another folder.")


def _order_of_inputs(fitted: tuple[Hashable, ...], inputs: Sequence[ModelInput]) -> list[Hashable]:
    """The fitted dims in the order of the inputs that read them; nothing unless each has one of its own."""
    own = [[d for d in one.values.dims if d in fitted] for one in inputs]
    order = [dims[0] for dims in own if len(dims) == 1]
    return order if len(order) == len(own) and sorted(map(str, order)) == sorted(map(str, fitted)) else []
