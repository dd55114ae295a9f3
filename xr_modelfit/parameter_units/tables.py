"""Lookup tables of astropy that have units, as tables of plain numbers in the units of a fit.

The points of a table are then in the unit of the coordinate that it reads, its values in that of the data or of
another coordinate. A table keeps its original, for the record of the fit and for the model of a result.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from astropy.modeling import CompoundModel, Model
from astropy.modeling.tabular import _Tabular
from astropy.units import Quantity, UnitBase

from xr_modelfit.models.convolution import compound_like
from xr_modelfit.models.expression import leaves
from xr_modelfit.units.text import parse_unit, write_unit

__all__ = [
    "OUTPUT",
    "Inner",
    "as_fitted",
    "has_units",
    "inner_of",
    "own_tables",
    "plain_table",
    "with_leaves",
]

OUTPUT = -1  # in place of the number of an input
_MARK = "_modelfit_inner"


@dataclass(frozen=True, eq=False)
class Inner:
    """What the plain numbers of a table mean."""

    points: tuple[UnitBase | None, ...]  # the unit along each axis; None if the points had none
    values: UnitBase | None
    reads: tuple[int | None, ...] = ()  # the input of the model in whose unit each axis is
    gives: int | None = None  # the input in whose unit the values are, or `OUTPUT`; None if they are pure numbers
    own: tuple[Any, Any, Any] = (None, None, None)  # points, values and fill value as the user gave them

    def __deepcopy__(self, memo: Any) -> Inner:
        return self  # it is never changed, and tables may be large

    def described(self) -> dict[str, Any]:
        """For the record of a fit."""
        return {
            "points": [None if unit is None else write_unit(unit) for unit in self.points],
            "values": None if self.values is None else write_unit(self.values),
        }


def has_units(leaf: Model) -> bool:
    """Whether a simple model is a table whose points or values have a unit."""
    return isinstance(leaf, _Tabular) and any(isinstance(v, Quantity) for v in (*leaf.points, leaf.lookup_table))


def inner_of(leaf: Model) -> Inner | None:
    """What the plain numbers of a table mean; None for any other model."""
    return cast("Inner | None", vars(leaf).get(_MARK))


def plain_table(table: Any, inner: Inner) -> Model:
    """A copy of a table in plain numbers; ``inner`` without ``own``."""
    copied = table.copy()
    own = table.points, table.lookup_table, table.fill_value
    copied.points = tuple(_numbers(p, unit) for p, unit in zip(table.points, inner.points, strict=True))
    copied.lookup_table = _numbers(table.lookup_table, inner.values)
    if table.fill_value is not None and isinstance(table.lookup_table, Quantity):
        copied.fill_value = float(_numbers(Quantity(table.fill_value, table.lookup_table.unit), inner.values))
    vars(copied)[_MARK] = replace(inner, own=own)
    return copied


def _numbers(values: Any, unit: UnitBase | None) -> Any:
    return values.to_value(unit) if isinstance(values, Quantity) else values


def with_leaves(model: Model, change: Callable[[Model], Model]) -> Model:
    """The expression with ``change`` applied to each simple model in order; the same object if none changes."""
    if not isinstance(model, CompoundModel):
        return change(model)
    left = with_leaves(model.left, change)
    right = with_leaves(model.right, change) if isinstance(model.right, Model) else model.right
    if left is model.left and right is model.right:
        return model
    built = compound_like(model, left, right)
    built.inputs, built.outputs = model.inputs, model.outputs
    built.meta.update(model.meta)
    return built


def own_tables(model: Model) -> Model:
    """The model with its tables as the user gave them."""

    def own(leaf: Any) -> Any:
        inner = inner_of(leaf)
        if inner is None:
            return leaf
        copied = leaf.copy()
        del vars(copied)[_MARK]
        copied.points, copied.lookup_table, copied.fill_value = inner.own
        return copied

    return with_leaves(model, own)


def as_fitted(model: Model, described: Mapping[str, Any]) -> Model:
    """The model with its tables in plain numbers, as they were in the fit; ``described`` is the model of a record."""
    if not any(has_units(leaf) for leaf in leaves(model)):
        return model
    described_leaves = iter(_described_leaves(described))

    def plain(leaf: Model) -> Model:
        one = next(described_leaves, {}).get("inner")
        if not has_units(leaf) or one is None:
            return leaf
        points = tuple(None if text is None else parse_unit(text) for text in one["points"])
        return plain_table(leaf, Inner(points, None if one["values"] is None else parse_unit(one["values"])))

    return with_leaves(model, plain)


def _described_leaves(tree: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The simple models of a recorded expression, in order."""
    if "op" not in tree:
        yield tree
        return
    yield from _described_leaves(tree["left"])
    if isinstance(tree["right"], Mapping):
        yield from _described_leaves(tree["right"])
