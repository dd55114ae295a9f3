"""What is said of a unit on a model's parameter that does not fit the data and its coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from astropy import units as u
from astropy.units import UnitBase

from xr_modelfit.labels.coords import ModelInput
from xr_modelfit.parameter_units.dimensions import Dimension
from xr_modelfit.units.text import write_unit
from xr_modelfit.units.units import Measure

__all__ = ["InputRead", "Misfit"]


class InputRead(NamedTuple):
    """An input, the number of its group, the power of its dimension, and the unit that the model takes it in."""

    input: ModelInput
    group: int
    power: Fraction
    taken: UnitBase | None

    @property
    def unit(self) -> UnitBase | None:
        return self.input.measure.unit or self.taken


@dataclass(frozen=True)
class Misfit:
    """A parameter whose unit is not what it should be.

    Parameters
    ----------
    name : str
    unit : astropy unit
        That it carries.
    dimension : Dimension
    inner : astropy unit
        That it would have by the units of the data and its coordinates.
    data : Measure
    inputs : sequence of InputRead
        Those that it depends on.
    taken : astropy unit or None
        That the model gives its values in, where a parameter tells.
    others : sequence of (str, astropy unit)
        Other parameters on whose units it depends.
    """

    name: str
    unit: UnitBase
    dimension: Dimension
    inner: UnitBase
    data: Measure
    inputs: Sequence[InputRead]
    taken: UnitBase | None = None
    others: Sequence[tuple[str, UnitBase]] = ()

    def message(self) -> str:
        head = f"model has the unit {write_unit(self.unit)!r} on {self.name!r}, but "
        if self.dimension.unit is not None:
            return head + (
                f"it is in {write_unit(self.dimension.unit)!r}, whatever data and coordinates are in. Give it that "
                "unit, or one that can be converted to it."
            )
        if self.dimension.output == 0 and not self.inputs:
            cycles = " astropy counts phases in cycles: divide an angle by that of a full turn."
            angle = self.unit.is_equivalent(u.rad) and "phase" in self.name
            return head + f"it is a pure number. Give it without unit.{cycles if angle else ''}"
        of_data = self.dimension.output != 0
        unlabelled = [f"the coordinate {r.input.coordinate!r}" for r in self.inputs if r.input.measure.text is None]
        if of_data and self.data.text is None:
            unlabelled = ["the data", *unlabelled]
        if unlabelled:
            verb = "has" if len(unlabelled) == 1 else "have"
            return head + f"{' and '.join(unlabelled)} {verb} no units. Label {self._labels(len(unlabelled))}."
        told = [f"the data is in {self.data.text!r}"] if of_data else []
        told += [f"the coordinate {r.input.coordinate!r} is in {r.input.measure.text!r}" for r in self.inputs]
        told += [f"{name!r} is in {write_unit(unit)!r}" for name, unit in self.others]
        return head + (
            f"{' and '.join(told)}, which gives {write_unit(self.inner)!r} and cannot be converted. "
            "Correct the units, or say by equivalencies={input: ...} how they are converted."
        )

    def _labels(self, n: int) -> str:
        by_group = {r.group: (r.unit, r.power) for r in self.inputs}
        output = self.dimension.output
        of_data = [(self.data.unit or self.taken, output)] if output != 0 else []
        calls = []
        if of_data and self.data.text is None:
            calls.append(f"data.assign_attrs(units={self._shown(self.taken, output, list(by_group.values()))})")
        for read in self.inputs:
            if read.input.measure.text is None:
                others = [pair for group, pair in by_group.items() if group != read.group] + of_data
                at, text = repr(read.input.coordinate), self._shown(read.taken, read.power, others)
                calls.append(f"data.assign_coords({{{at}: data[{at}].assign_attrs(units={text})}})")
        return f"{'it' if n == 1 else 'them'}: {', '.join(calls)}"

    def _shown(
        self, taken: UnitBase | None, power: Fraction, others: Sequence[tuple[UnitBase | None, Fraction]]
    ) -> str:
        """The unit that fits, as a string; dots where the model does not tell."""
        if taken is not None:
            return repr(write_unit(taken))
        left = self.unit
        for unit, p in others:
            parts = zip(left.bases, left.powers, strict=True)
            same = [b for b, q in parts if unit is not None and q == p and b.is_equivalent(unit)]
            if len(same) != 1:
                return "'...'"
            left = left / same[0] ** int(p) if p.denominator == 1 else left / same[0] ** p
        return repr(write_unit(left ** (1 / power)))
