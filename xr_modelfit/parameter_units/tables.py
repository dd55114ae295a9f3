"""Lookup tables of astropy that have units, as tables of plain numbers in the units of a fit.

Inside a fit all numbers are plain. The points of a table are then in the unit of the coordinate that it reads, its
values in that of the data or of another coordinate. A table keeps what it was beside that, for the record of the fit
and for the model that is made of a result.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

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
    "units_of_points",
    "with_leaves",
]

OUTPUT = -1  # in place of the number of an input
_MARK = "_modelfit_inner"


@dataclass(frozen=True, eq=False)
class Inner:
    """What the plain numbers of a table are.

    Parameters
    ----------
    points : tuple of astropy unit or None
        Unit along each axis; None where the points had none.
    values : astropy unit or None
    reads : tuple of int or None
        The input of the model that each axis is in the unit of.
    gives : int or None
        The input that the values are in the unit of, or `OUTPUT`; None where they are pure numbers.
    own : tuple
        Points, values and fill value as the user gave them.
    """

    points: tuple[UnitBase | None, ...]
    values: UnitBase | None
    reads: tuple[int | None, ...] = ()
    gives: int | None = None
    own: tuple[Any, Any, Any] = (None, None, None)

    def __deepcopy__(self, memo: Any) -> Inner:
        return self  # nothing in it is written to, and tables may be large

    def described(self) -> dict[str, Any]:
        """As the record has it."""
        return {
            "points": [None if unit is None else write_unit(unit) for unit in self.points],
            "values": None if self.values is None else write_unit(self.values),
        }


def has_units(leaf: Model) -> bool:
    """Whether a simple model is a table whose points or values have a unit."""
    return isinstance(leaf, _Tabular) and any(isinstance(v, Quantity) for v in (*leaf.points, leaf.lookup_table))


def inner_of(leaf: Model) -> Inner | None:
    """What a table of plain numbers was made of; None for any other model."""
    found: Inner | None = vars(leaf).get(_MARK)
    return found


def units_of_points(table: Any) -> list[UnitBase | None]:
    """The unit of the points along each axis, None where they have none."""
    return [p.unit if isinstance(p, Quantity) else None for p in table.points]


def plain_table(table: Any, inner: Inner) -> Model:
    """A copy of a table in plain numbers; ``inner`` without ``own``."""
    copied = table.copy()
    own = table.points, table.lookup_table, table.fill_value
    copied.points = tuple(_numbers(p, unit) for p, unit in zip(table.points, inner.points, strict=True))
    copied.lookup_table = _numbers(table.lookup_table, inner.values)
    if table.fill_value is not None and isinstance(table.lookup_table, Quantity):
        copied.fill_value = float(_numbers(Quantity(table.fill_value, table.lookup_table.unit), inner.values))
    vars(copied)[_MARK] = Inner(inner.points, inner.values, inner.reads, inner.gives, own)
    return copied


def _numbers(values: Any, unit: UnitBase | None) -> Any:
    return values.to_value(unit) if isinstance(values, Quantity) else values


def with_leaves(model: Model, change: Callable[[Model], Model]) -> Model:
    """The expression with some simple models changed, the first first; it itself where none is."""
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
    """The model with its tables as the user gave them; a copy, if any is not."""

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
    told = iter(_described_leaves(described))

    def plain(leaf: Model) -> Model:
        one = next(told, {}).get("inner")
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
