"""The simple models in the expression of a record, each with the names of its parameters in the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xr_modelfit.records.record import FitRecord, RecordError

__all__ = ["Part", "fixed_names", "parts_of"]


@dataclass(frozen=True)
class Part:
    """A simple model in the expression."""

    tree: Mapping[str, Any]  # what the record says of it
    names: dict[str, str]  # of each parameter, by its own name: the name in the result, without prefix
    direct: bool  # it reads the inputs of the whole model, and no others

    @property
    def fixed(self) -> set[str]:
        """Full names of the parameters that are fixed everywhere."""
        return {self.names[one] for one in self.tree.get("fixed", ()) if one in self.names}

    @property
    def amplitude(self) -> str | None:
        """Full name of the parameter that says how much there is of this part."""
        return next((full for own, full in self.names.items() if own.lower().startswith("amp")), None)


def parts_of(record: FitRecord) -> list[Part]:
    """The simple models, in the order of their parameters.

    Raises RecordError if the model in the record is damaged.
    """
    names = iter(record.names)
    try:
        return [
            Part(tree, dict(zip(tree["values"], names, strict=False)), direct)
            for tree, direct in _leaves(record.content["model"], True)
        ]
    except (KeyError, TypeError, AttributeError):
        raise RecordError("The model in the record of the fit cannot be read: it is damaged.") from None


def fixed_names(record: FitRecord) -> set[str]:
    """Parameters, without prefix, that the fit held at one value at all positions."""
    return set().union(*(part.fixed for part in parts_of(record)))


def _leaves(tree: Mapping[str, Any], direct: bool) -> Iterator[tuple[Mapping[str, Any], bool]]:
    if "op" not in tree:
        yield tree, direct
        return
    direct = direct and tree["op"] in ("+", "-", "*", "/", "**")
    yield from _leaves(tree["left"], direct)
    if isinstance(tree["right"], Mapping):
        yield from _leaves(tree["right"], direct)
