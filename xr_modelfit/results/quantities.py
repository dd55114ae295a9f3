"""A quantity that follows from fitted parameters: a function of them, and the unit that follows from the function.

The unit is found by trial: the function is called with Quantities. That is believed only if the function gives the same
for the same parameters in other units; one that works on plain numbers inside does not. A factor that is there to
change the unit, such as 3600 or 1000, makes the unit unknown, since it cannot be told from any other number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from astropy import units as u
from astropy.units import Quantity, UnitBase

from xr_modelfit.parameter_units.algebra import OF_TIMES
from xr_modelfit.tracing.graph import CannotTrace, Graph
from xr_modelfit.tracing.symbols import Symbol
from xr_modelfit.units.text import parse_unit, write_unit

__all__ = ["DerivedQuantity"]

_DAYS_OF_YEARS = {f for f in OF_TIMES if 360 <= f <= 366}
_FACTORS = OF_TIMES | {days * more for days in _DAYS_OF_YEARS for more in (10.0, 24.0, 100.0, 1440.0, 86400.0)}
_SAME = 1e-9  # of a value: the same but for rounding


@dataclass(frozen=True)
class DerivedQuantity:
    """A quantity to compute.

    Parameters
    ----------
    name, title : str
    function : callable
        Of parameters (b,), to values (b,). One that has a method ``about``, of the same arguments, has several
        branches; the method gives the function on the branch of these parameters.
    parameters : tuple of int
        Numbers of the parameters that it takes.
    units : tuple of UnitBase or None
        Theirs, where the function gets Quantities.
    unit : UnitBase or None
        What the value is converted to, where it is a Quantity.
    told : dict or None
        Attrs of the value where they are known without trial, such as ``units``.
    told_of_error : dict
        The same of the standard error, where it has others.
    of_one : bool
        Whether its error comes from that of one parameter, though others say which branch it is on.
    """

    name: str
    title: str
    function: Callable[..., Any]
    parameters: tuple[int, ...]
    units: tuple[UnitBase, ...] | None = None
    unit: UnitBase | None = None
    told: Mapping[str, str] | None = None
    told_of_error: Mapping[str, str] = field(default_factory=dict)
    of_one: bool = False

    @property
    def needs_covariance(self) -> bool:
        """Whether standard errors of the parameters alone do not tell its error."""
        return len(self.parameters) > 1 and not self.of_one

    def __call__(self, P: np.ndarray) -> np.ndarray:
        """Plain numbers (b,) of parameters (k, b)."""
        value = self._value(P)
        if self.unit is not None:
            value = Quantity(value).to_value(self.unit)
        return np.broadcast_to(np.asarray(value, dtype=float), P.shape[1:])

    def _value(self, P: np.ndarray) -> Any:
        units = self.units
        return self.function(*(P if units is None else map(Quantity, P, units)))

    def about(self, P: np.ndarray) -> DerivedQuantity:
        """The quantity on the branch of parameters (k, b)."""
        branch = getattr(self.function, "about", None)
        return self if branch is None else replace(self, function=branch(*P))

    @property
    def attrs(self) -> dict[str, str]:
        """Attrs of the value."""
        return self._units | {"long_name": self.title} | dict(self.told or {})

    @property
    def error_attrs(self) -> dict[str, str]:
        """Attrs of the standard error."""
        return (
            self._units | dict(self.told_of_error or self.told or {}) | {"long_name": f"standard error of {self.title}"}
        )

    @property
    def _units(self) -> dict[str, str]:
        return {} if self.unit is None else {"units": write_unit(self.unit)}

    def with_units(self, texts: Sequence[str | None]) -> DerivedQuantity:
        """With units of parameters and value, if they follow; else on plain numbers, and without a unit.

        ``texts`` are the units of all parameters of the fit.
        """
        own = [texts[j] for j in self.parameters]
        if None in own or self.told is not None:
            return self
        k = len(own)
        trial = np.array([[1.25 + 0.5 * j / k, 1.5 + 0.5 * j / k] for j in range(k)])
        try:
            units = tuple(map(parse_unit, own))
            if _changes_unit(self.function, trial, any(map(_is_of_time, units))):
                return self
            known = replace(self, units=units)
            with np.errstate(all="ignore"):
                known = replace(known, unit=Quantity(known._value(trial)).unit)
                values = known(trial)
                same = np.allclose(values, known._in_other_units(trial), rtol=_SAME, atol=0.0, equal_nan=True)
            return known if same else self
        except Exception:  # the function does not take these units, and may raise anything
            return self

    def _in_other_units(self, P: np.ndarray) -> np.ndarray:
        """The same value from the same parameters, each in another unit of its kind."""
        assert self.units is not None
        scales = [1.0 if unit == u.dimensionless_unscaled else 2.0 ** (j + 1) for j, unit in enumerate(self.units)]
        units = tuple(u.CompositeUnit(1.0 / s, [unit], [1]) for s, unit in zip(scales, self.units, strict=True))
        return replace(self, units=units)(P * np.array(scales)[:, None])


def _is_of_time(unit: UnitBase) -> bool:
    return u.s in unit.decompose().bases


def _changes_unit(function: Callable[..., Any], trial: np.ndarray, times: bool) -> bool:
    """Whether a factor in the function may be there to change a unit; ``trial`` are some parameters (k, b)."""
    return any(_converts(factor, times) for factor in _factors(function, trial))


def _factors(function: Callable[..., Any], trial: np.ndarray) -> list[float]:
    """Numbers that the function multiplies or divides by, as far as its code tells."""
    graph = Graph()
    try:
        value = function(*(Symbol(graph, graph.leaf("parameter", j), locked=True) for j in range(len(trial))))
        operations = [graph.nodes[number] for number in graph.needed([value.number])]
        return [
            float(known)
            for op, *arguments in operations
            if op in ("multiply", "divide")
            for one in arguments
            if (known := graph.value(one)) is not None
        ]
    except (CannotTrace, Exception):  # symbols do not suit it: with one parameter, the value tells
        return [] if len(trial) > 1 else _ratio(function, trial[0])


def _ratio(function: Callable[..., Any], p: np.ndarray) -> list[float]:
    """The number that a function multiplies its only parameter by, where it does nothing else."""
    try:
        with np.errstate(all="ignore"):
            value = function(p)
            if isinstance(value, Quantity):
                return []
            ratio = np.broadcast_to(np.asarray(value, dtype=float), p.shape) / p
    except Exception:  # it wants Quantities
        return []
    return [float(ratio[0])] if np.allclose(ratio, ratio[0], rtol=_SAME, atol=0.0) else []


def _converts(factor: float, times: bool) -> bool:
    """Whether a factor is one between units: a power of ten, or one between units of time."""
    size = abs(factor)
    if not math.isfinite(size) or size in (0.0, 1.0):
        return False
    size = max(size, 1.0 / size)
    power = round(math.log10(size))
    if power >= 1 and math.isclose(size, 10.0**power, rel_tol=_SAME):
        return True
    return times and any(math.isclose(size, one, rel_tol=_SAME) for one in _FACTORS)
