"""Convolutions of two models, by astropy's `convolve_models` and `convolve_models_fft`.

astropy registers their operator under a number in the process that made it. Here the operator's function stays with the
model, so that other processes can evaluate it too.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from astropy.modeling import CompoundModel, Model
from astropy.modeling.convolution import Convolution
from astropy.modeling.core import SPECIAL_OPERATORS

__all__ = ["compound_like", "convolution_like", "describe_convolution", "on_own_grid", "operator_of"]

_FUNCTION = "_modelfit_operator"
_MOST_POINTS = 1e7  # of a grid that a record asks for
_MODES = ("convolve", "convolve_fft")


def operator_of(model: CompoundModel) -> Callable[..., Any] | None:
    """The function of an operator that Python does not have; None where it is not known."""
    known: Callable[..., Any] | None = vars(model).get(_FUNCTION)
    return known if known is not None else SPECIAL_OPERATORS.get(model.op)


def compound_like(model: CompoundModel, left: Model, right: Any) -> CompoundModel:
    """A compound of other operands by the same operator."""
    if isinstance(model, Convolution):
        box, resolution = model.bounding_box, model._resolution
        built: CompoundModel = Convolution(model.op, left, right, box, resolution, cache=False)
    else:
        built = CompoundModel(model.op, left, right, name=model.name)
    function = operator_of(model)
    if function is not None:
        vars(built)[_FUNCTION] = function
    return built


def on_own_grid(
    model: Convolution, inputs: Sequence[Any], function: Callable[..., Any], values: Callable[[Sequence[Any]], Any]
) -> np.ndarray:
    """Values at ``inputs`` of a convolution by `convolve_models_fft`, interpolated from its own grid.

    ``function`` is the operator's, ``values`` gives the pair of arrays to convolve at coordinates. Raises `ValueError`
    for inputs outside the bounding box of the model.
    """
    from scipy.interpolate import RegularGridInterpolator

    domain = model.bounding_box.domain(model._resolution)
    convolved = function(*values(np.meshgrid(*domain)))
    at = np.stack([np.ravel(x) for x in np.broadcast_arrays(*inputs)], axis=-1)
    found: np.ndarray = RegularGridInterpolator(domain, convolved)(at)
    return found.reshape(np.broadcast_shapes(*(np.shape(x) for x in inputs)))


def describe_convolution(model: CompoundModel) -> dict[str, Any] | None:
    """Options and grid of a convolution as plain data; None where that is impossible."""
    function = operator_of(model)
    if not isinstance(function, partial) or function.args or function.func.__name__ not in _MODES:
        return None
    options = function.keywords
    if not all(isinstance(v, bool | int | float | str | None) for v in options.values()):
        return None
    described: dict[str, Any] = {"mode": function.func.__name__, "options": dict(options)}
    if isinstance(model, Convolution):
        box = model.bounding_box
        sides = [[float(v) for v in (box[i].lower, box[i].upper)] for i in range(model.n_inputs)]
        resolution = model._resolution
        if np.ndim(resolution):
            return None
        described |= {"box": sides, "order": box.order, "resolution": float(resolution)}
    return described


def convolution_like(described: Mapping[str, Any], left: Model, right: Model) -> CompoundModel:
    """The convolution that `describe_convolution` described; `ValueError` if astropy cannot have made it."""
    from astropy.convolution import convolve_models, convolve_models_fft  # takes long to import

    mode, options = described["mode"], described["options"]
    if mode not in _MODES:
        raise ValueError(f"there is no convolution {mode!r}")
    if "box" not in described:
        return convolve_models(left, right, mode, **options)
    sides = [tuple(side) for side in described["box"]]
    points = math.prod((high - low) / described["resolution"] for low, high in sides)
    if not 0 < points < _MOST_POINTS:
        raise ValueError(f"its own grid would have {points:.3g} points")
    box = sides[0] if len(sides) == 1 else tuple(sides if described["order"] == "F" else sides[::-1])
    return convolve_models_fft(left, right, box, described["resolution"], cache=False, **options)
