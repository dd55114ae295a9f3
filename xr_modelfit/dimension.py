"""The dimension of a parameter, and what astropy says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from astropy import units as u
from astropy.modeling import CompoundModel, Model
from astropy.modeling.polynomial import OrthoPolynomialBase, PolynomialModel

__all__ = ["Dimension", "astropy_rules", "is_mapped"]


@dataclass(frozen=True)
class Dimension:
    """Exponents of a parameter's dimension.

    Parameters
    ----------
    output : Fraction
        Power of the output's dimension.
    inputs : tuple of Fraction
        Power of the dimension of each group of inputs.
    unit : astropy unit, optional
        Of its own, whatever the inputs and the output are: an angle, a temperature.
    place : int, optional
        The input that it is a place along: with all places moved like the inputs, nothing changes.
    width : bool
        It is a difference along an input, and no place.
    level : bool
        Values of the output plus a constant are those with this parameter plus the constant.
    """

    output: Fraction = Fraction(0)
    inputs: tuple[Fraction, ...] = ()
    unit: Any = None
    place: int | None = None
    width: bool = False
    level: bool = False


def is_mapped(model: PolynomialModel) -> bool:
    """Whether a polynomial maps its inputs to a window first, which makes a pure number of them."""
    pairs = [(model.domain, model.window)] if model.n_inputs == 1 else []
    if model.n_inputs == 2:
        pairs = [(model.x_domain, model.x_window), (model.y_domain, model.y_window)]
    mapped = [domain is not None and tuple(domain) != tuple(window) for domain, window in pairs]
    if isinstance(model, OrthoPolynomialBase) or model.n_inputs == 1:
        return all(mapped)
    return bool(mapped) and all(mapped)


def astropy_rules(model: Model, groups: Sequence[int], n_groups: int) -> list[Dimension | None] | None:
    """What astropy says of the parameters' units, None for those that it does not speak of."""
    if isinstance(model, CompoundModel):
        return None
    Y = u.def_unit("Y")
    X = [u.def_unit(f"X{g}") for g in range(n_groups)]
    try:
        told = model._parameter_units_for_data_units(
            {name: X[g] for name, g in zip(model.inputs, groups, strict=True)}, {model.outputs[0]: Y}
        )
        return [_exponents(told.get(name), Y, X) for name in model.param_names]
    except Exception:  # it has no rules, or needs inputs of the same unit
        return None


def _exponents(unit: Any, Y: Any, X: Sequence[Any]) -> Dimension | None:
    if unit is None:
        return None
    parts = dict(zip(unit.bases, unit.powers, strict=True))
    output = Fraction(parts.pop(Y, 0))
    inputs = tuple(Fraction(parts.pop(x, 0)) for x in X)
    return Dimension(output, inputs, unit if parts else None)
