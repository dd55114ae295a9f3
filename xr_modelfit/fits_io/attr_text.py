"""Attrs as JSON takes them, and back: text, numbers, arrays of numbers, and lists of these."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["attrs_of", "is_known_type", "plain_attrs"]

_TYPES = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64)|(datetime|timedelta)64\[(D|h|m|s|ms|us|ns)\]")


def is_known_type(name: Any) -> bool:
    """Whether a text is a numpy type of numbers or dates."""
    return isinstance(name, str) and _TYPES.fullmatch(name) is not None


def plain_attrs(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Attrs for JSON. What is no text, number or list of them is left out, as no file holds it."""
    found = {key: _plain(value) for key, value in attrs.items() if isinstance(key, str)}
    return {key: value for key, value in found.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf" and is_known_type(value.dtype.name):
        return {"dtype": value.dtype.name, "values": value.tolist()}
    if isinstance(value, np.ndarray) and value.dtype.kind == "U":
        return value.tolist()
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        parts = [_plain(one) for one in value]
        return None if any(part is None for part in parts) else parts
    return None


def attrs_of(told: Any) -> dict[str, Any]:
    """The attrs that `plain_attrs` made; a ValueError, TypeError or KeyError of what it did not make."""
    return {str(key): _value(value) for key, value in dict(told).items()}


def _value(told: Any) -> Any:
    if isinstance(told, dict):
        values = np.array(told["values"])
        if not is_known_type(told["dtype"]) or (values.size and values.dtype.kind not in "biuf"):
            raise ValueError("an attr is no array of numbers")
        return values.astype(told["dtype"])[()]
    if isinstance(told, list):
        return [_value(one) for one in told]
    if not isinstance(told, str | bool | int | float):
        raise ValueError("an attr is neither text nor a number")
    return told
