"""Checks of records: their parts, the types of these, and limits on their size.

A record comes with a file, and a file may come from anywhere. Nothing in it is run. But a degree of 10**6, or hundreds
of nested models, would keep a process busy for ever.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from xr_modelfit.records.extent import is_extent

__all__ = ["are_sizes_right", "has_its_parts", "is_within_limits"]

_LONGEST = 32 * 2**20  # characters of a record: a table of a million numbers has fewer
_DEEPEST = 200  # dicts and lists inside each other; a sum of so many models is as deep
_PARTS = 500  # models in an expression
_TEXT = 2000  # characters of a name, a unit or a path
_INTEGER = 2**63
_AXES = 32  # inputs of a model: numpy's arrays have no more dims
_MOST_POINTS = 64  # along a bin
_DEGREES = ("degree", "x_degree", "y_degree")
_COUNTS = ("a_order", "b_order", "ap_order", "bp_order", "n_inputs", "mapping")
_PAIRS = ("domain", "window", "x_domain", "x_window", "y_domain", "y_window")
_METHODS = ("linear", "nearest", "splinef2d", "slinear", "cubic", "quintic", "pchip")  # of a table
_FREE_TEXT = "meta"  # what users noted on their models

# Forms of values as JSON has them: a type, a value, [form of each item], {key: form}, or several in a tuple.
_ABSENT = object()
_TEXT_OR_NONE = (str, None)
_INPUT = {
    "name": str, "coordinate": str, "dims": [str], "units": (str, None, _ABSENT), "from": (str, None, _ABSENT),
    "time": ({"units": str, "calendar": _TEXT_OR_NONE}, None, _ABSENT),
    "dates": (True, _ABSENT),
    "counted": (int, _ABSENT),
}  # fmt: skip
_UNITS = {
    "parameters": [_TEXT_OR_NONE], "own": [_TEXT_OR_NONE], "inward": [float], "data": _TEXT_OR_NONE, "carried": bool,
    "scale": ([float], None),
}  # fmt: skip
_KERNEL, _MATRIX = {"values": [float], "offsets": [float]}, {"values": [[float]], "offsets": None}
_RECORD = {
    "names": [str], "fitted_dims": [str], "model": dict, "data": _TEXT_OR_NONE, "inputs": [_INPUT],
    "units": (_UNITS, None, _ABSENT),
    "sampled": ({"points": (int, None), "bins": dict, "response": (_KERNEL, _MATRIX, "lost", None)}, _ABSENT),
}  # fmt: skip


def has_its_parts(content: Mapping[str, Any]) -> bool:
    """Whether a record has all parts that are read, with the right types; the model is checked when it is built."""
    if not _has_form(content, _RECORD) or not content["names"]:
        return False
    if content.get("pointwise", True) is not True:
        dims = content["grid_dims"]
        if not _has_form(dims, [str]) or len(set(dims)) < len(dims) or not set(dims) <= set(content["fitted_dims"]):
            return False
    if not all(map(is_extent, content["inputs"])):
        return False
    if any("from" in one and not {"named", "equivalencies"} <= one.keys() for one in content["inputs"]):
        return False
    if not _are_priors(content.get("options"), content["names"]):
        return False
    units, sampled = content.get("units"), content.get("sampled")
    return (units is None or _are_units(units, len(content["names"]))) and (sampled is None or _is_sampled(sampled))


def _has_form(value: Any, form: Any) -> bool:
    if isinstance(form, tuple):
        return any(_has_form(value, one) for one in form)
    if isinstance(form, list):
        return isinstance(value, list) and all(_has_form(one, form[0]) for one in value)
    if isinstance(form, dict):
        return isinstance(value, dict) and all(_has_form(value.get(key, _ABSENT), one) for key, one in form.items())
    if form is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, form) if isinstance(form, type) else value == form


def _are_priors(options: Any, names: Collection[str]) -> bool:
    """Whether the priors in the options of a fit, if there are any, are of its parameters."""
    priors = options.get("priors", {}) if isinstance(options, dict) else {}
    if not isinstance(priors, dict) or not priors.keys() <= set(names):
        return False
    form = {"mean": (float, None), "deviation": (float, None), "units": _TEXT_OR_NONE}
    return all(_has_form(one, form) for one in priors.values())


def _are_units(units: Mapping[str, Any], n: int) -> bool:
    scale = [1.0, 0.0] if units["scale"] is None else units["scale"]
    same = all(len(units[key]) == n for key in ("parameters", "own", "inward"))
    return same and 0 not in units["inward"] and len(scale) == 2 and scale[0] != 0


def _is_sampled(described: Mapping[str, Any]) -> bool:
    points, response = described["points"], described["response"]
    known = points is None or 1 <= points <= _MOST_POINTS
    known = known and all(isinstance(name, str | None) for name in described["bins"].values())
    if response in (None, "lost"):
        return known
    n, offsets = len(response["values"]), response["offsets"]
    return known and (len(offsets) == n > 0 if offsets is not None else all(len(r) == n for r in response["values"]))


def is_within_limits(text: Any, content: Any) -> bool:
    """Whether the length, depth and number of models of a record are those of a fit, and its integers can be floats."""
    if len(text) > _LONGEST:
        return False
    parts = 0
    waiting = [(content, 0, _TEXT)]
    while waiting:
        value, depth, longest = waiting.pop()
        if depth > _DEEPEST or parts > _PARTS:
            return False
        if isinstance(value, str) and len(value) > longest:
            return False
        if isinstance(value, int) and abs(value) > _INTEGER:
            return False
        if isinstance(value, dict):
            parts += "class" in value
            if any(len(key) > _TEXT for key in value):
                return False
            waiting += [(v, depth + 1, _LONGEST if k == _FREE_TEXT else longest) for k, v in value.items()]
        elif isinstance(value, list):
            waiting += [(v, depth + 1, longest) for v in value]
    return True


def are_sizes_right(tree: Mapping[str, Any]) -> bool:
    """Whether the arguments of a class ask for no larger a model than its parameter values bear out."""
    arguments, n_values = tree["arguments"], len(tree["values"])
    if not all(map(_is_number, tree["values"].values())):
        return False
    pairs = [arguments[name] for name in _PAIRS if arguments.get(name) is not None]
    if not all(isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair)) for pair in pairs):
        return False
    degrees = [arguments[name] for name in _DEGREES if isinstance(arguments.get(name), int | float)]
    if degrees and math.prod(abs(degree) + 1 for degree in degrees) > n_values + (_AXES if "knots" in arguments else 0):
        return False
    if isinstance(arguments.get("knots"), int) and abs(arguments["knots"]) > n_values + _AXES:
        return False
    counts = [n for name in _COUNTS for n in _numbers(arguments.get(name))]
    return all(abs(n) <= _AXES for n in counts) and _is_table_whole(arguments)


def _is_table_whole(arguments: Mapping[str, Any]) -> bool:
    """Whether a table, if there is one, has a value for each point, and monotonic points."""
    table, points, fill = (_without_unit(arguments.get(name)) for name in ("lookup_table", "points", "fill_value"))
    if table is None or points is None or isinstance(table, Mapping):  # anything but a quantity is refused later
        return True
    if arguments.get("method") not in _METHODS or not (fill is None or _is_number(fill)):
        return False
    shape = np.shape(np.array(table, dtype=float))
    given = [_without_unit(axis) for axis in points]
    axes = [np.array(axis, dtype=float) for axis in (given if len(shape) > 1 or np.ndim(given[0]) else [given])]
    steps = [np.diff(axis) for axis in axes if axis.ndim == 1]
    return tuple(axis.size for axis in axes) == shape and all(np.all(d > 0) or np.all(d < 0) for d in steps)


def _without_unit(value: Any) -> Any:
    """The numbers of a recorded quantity; anything else as it is."""
    given = value.get("quantity") if isinstance(value, Mapping) and len(value) == 1 else None
    return given[0] if isinstance(given, list) and len(given) == 2 else value


def _is_number(value: Any) -> bool:
    """Whether it is a recorded number; infinite ones and NaN are text, since JSON lacks them."""
    return isinstance(value, int | float) or (isinstance(value, str) and value in ("nan", "inf", "-inf"))


def _numbers(value: Any) -> Iterator[float]:
    """All numbers in nested lists."""
    if isinstance(value, int | float):
        yield value
    for one in value if isinstance(value, list) else ():
        yield from _numbers(one)
