"""Ties of a model that carries units: they read and give parameters in the units that the user wrote."""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.modeling import Model
from astropy.units import Quantity, UnitBase, dimensionless_unscaled

from xr_modelfit.models.expression import with_values
from xr_modelfit.models.problem import Numbers, Stand

__all__ = ["TieInUnits"]


@dataclass(frozen=True)
class TieInUnits:
    """A tie that sees the model as the user wrote it, though inside a fit numbers are in other units.

    Parameters
    ----------
    tie : callable
    model : astropy.modeling.Model
        As the user wrote it.
    names : tuple of str
        Parameters, in astropy's names.
    units : tuple of astropy units or None
        As the user wrote them.
    inward : tuple of float
        Factors from those units to numbers inside.
    own : int
        Which parameter is tied.
    """

    tie: Callable[[Any], Any]
    model: Model
    names: tuple[str, ...]
    units: tuple[UnitBase | None, ...]
    inward: tuple[float, ...]
    own: int

    @property
    def __wrapped__(self) -> Callable[[Any], Any]:
        return self.tie

    def __call__(self, model: Model) -> Any:
        try:
            value = self.tie(Stand(self.names, lambda name: self.seen(model, name)))
        except (AttributeError, TypeError):  # it looks into the model's parts
            values = [self.seen(model, name) for name in self.names]
            value = self.tie(
                with_values(self.model, [v.quantity if isinstance(v, Quantity) else v.value for v in values])
            )
        unit = self.units[self.own]
        if isinstance(value, Quantity):
            value = value.to_value(dimensionless_unscaled if unit is None else unit)
        return np.asarray(value) * self.inward[self.own]

    def seen(self, model: Model, name: str) -> Any:
        """A parameter as the user wrote it."""
        j = self.names.index(name)
        values = np.asarray(getattr(model, name).value) / self.inward[j]
        unit = self.units[j]
        return np.asarray(values).view(Numbers) if unit is None else _InUnit(values, unit)


class _InUnit(Quantity):
    """A Quantity that answers as a parameter of astropy does."""

    @property
    def quantity(self) -> Quantity:
        return self.view(Quantity)
