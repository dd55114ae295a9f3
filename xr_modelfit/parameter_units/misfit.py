"""The error for a unit on a model's parameter that does not fit the data and its coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from astropy import units as u
from astropy.units import UnitBase

from xr_modelfit.parameter_units.dimensions import Dimension
from xr_modelfit.units.text import write_unit
from xr_modelfit.units.units import Measure

__all__ = ["DATA", "Factor", "misfit"]

DATA = -1  # in place of the group of an input


class Factor(NamedTuple):
    """The data or a coordinate, a power of whose unit is in that of a parameter."""

    group: int  # of the input that reads the coordinate, or `DATA`
    power: Fraction
    measure: Measure
    taken: UnitBase | None  # the unit that the model takes or gives, if a parameter tells it
    coordinate: str = ""

    @property
    def title(self) -> str:
        return "the data" if self.group == DATA else f"the coordinate {self.coordinate}"

    def labelled(self, unit: str) -> str:
        """The call that gives it a unit."""
        if self.group == DATA:
            return f"data.assign_attrs(units={unit})"
        at = self.coordinate
        return f"data.assign_coords({{{at}: data[{at}].assign_attrs(units={unit})}})"


def misfit(
    name: str,
    unit: UnitBase,
    dimension: Dimension,
    inner: UnitBase,
    factors: Sequence[Factor],
    others: Sequence[tuple[str, UnitBase]],
) -> str:
    """The message for a parameter that carries ``unit`` where the units of data and coordinates give ``inner``.

    ``others`` are parameters on whose units it depends.
    """
    head = f"model has the unit {write_unit(unit)!r} on {name!r}, but "
    if dimension.unit is not None:
        return head + (
            f"it is in {write_unit(dimension.unit)!r}, whatever data and coordinates are in. Give it that "
            "unit, or one that can be converted to it."
        )
    if not factors:
        cycles = " astropy counts phases in cycles: divide an angle by that of a full turn."
        angle = unit.is_equivalent(u.rad) and "phase" in name
        return head + f"it is a pure number. Give it without unit.{cycles if angle else ''}"
    bare = [one for one in factors if one.measure.text is None]
    if bare:
        verb, them, their = ("has", "it", "its") if len(bare) == 1 else ("have", "them", "their")
        calls = ", ".join(one.labelled(_fitting(unit, one, factors)) for one in bare)
        how = f"Label {them} with the unit of {their} numbers, such as: {calls}."
        return head + f"{' and '.join(one.title for one in bare)} {verb} no units. {how}"
    units = [f"{one.title} is in {one.measure.text!r}" for one in factors]
    units += [f"{name!r} is in {write_unit(unit)!r}" for name, unit in others]
    return head + (
        f"{' and '.join(units)}, which gives {write_unit(inner)!r} and cannot be converted. "
        "Correct the units, or say by equivalencies={input: ...} how they are converted."
    )


def _fitting(unit: UnitBase, one: Factor, factors: Sequence[Factor]) -> str:
    """The unit that fits, as a string; dots if the model does not tell."""
    if one.taken is not None:
        return repr(write_unit(one.taken))
    others = {f.group: (f.measure.unit or f.taken, f.power) for f in factors if f.group != one.group}
    for other, power in others.values():
        parts = zip(unit.bases, unit.powers, strict=True)
        same = [b for b, p in parts if other is not None and p == power and b.is_equivalent(other)]
        if len(same) != 1:
            return "'...'"
        unit = unit / same[0] ** int(power) if power.denominator == 1 else unit / same[0] ** power
    return repr(write_unit(unit ** (1 / one.power)))
