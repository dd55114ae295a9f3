"""What ties read in place of the model: all fits at once, or parameters in the units that the user wrote."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.modeling import Model
from astropy.units import Quantity, UnitBase, dimensionless_unscaled

from xr_modelfit.models.expression import with_values

__all__ = ["ModelStandIn", "ParameterValues", "TieInUnits"]


class ParameterValues(np.ndarray):
    """Values of one parameter in all fits, with the attributes of an astropy parameter without unit."""

    @property
    def value(self) -> np.ndarray:
        return np.asarray(self)

    @property
    def unit(self) -> None:
        return None


class ModelStandIn:
    """What a tie gets in place of the model: its parameters are what ``read`` gives for their names."""

    def __init__(self, names: Sequence[str], read: Callable[[str], Any]) -> None:
        self.param_names, self._read = names, read

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in self.param_names:
            raise AttributeError(name)
        return self._read(name)


@dataclass(frozen=True)
class TieInUnits:
    """A tie that sees the model as the user wrote it, though numbers inside a fit are in other units."""

    tie: Callable[[Any], Any]
    model: Model  # as the user wrote it
    names: tuple[str, ...]  # of the parameters, as astropy has them
    units: tuple[UnitBase | None, ...]  # as the user wrote them
    inward: tuple[float, ...]  # factors from those units to numbers inside
    own: int  # which parameter is tied

    @property
    def __wrapped__(self) -> Callable[[Any], Any]:
        return self.tie

    def __call__(self, model: Model) -> Any:
        try:
            value = self.tie(ModelStandIn(self.names, lambda name: self.in_unit(model, name)))
        except (AttributeError, TypeError):  # it looks into the model's parts
            values = [self.in_unit(model, name) for name in self.names]
            value = self.tie(
                with_values(self.model, [v.quantity if isinstance(v, Quantity) else v.value for v in values])
            )
        unit = self.units[self.own]
        if isinstance(value, Quantity):
            value = value.to_value(dimensionless_unscaled if unit is None else unit)
        return np.asarray(value) * self.inward[self.own]

    def in_unit(self, model: Model, name: str) -> Any:
        """A parameter as the user wrote it."""
        j = self.names.index(name)
        values, unit = np.asarray(getattr(model, name).value) / self.inward[j], self.units[j]
        return np.asarray(values).view(ParameterValues) if unit is None else _InUnit(values, unit)


class _InUnit(Quantity):
    """A Quantity with the attributes of an astropy parameter."""

    @property
    def quantity(self) -> Quantity:
        return self.view(Quantity)
