r"""What stands before and behind each simple model of an expression, joined to it by ``|``.

In ``Scale(k) | Gaussian1D()`` the line is evaluated at ``k x``: along ``x`` it is ``1 / |k|`` times as wide as its
``stddev`` says. In ``Gaussian1D() | Scale(k)`` its values are ``k`` times as high. Both are followed as products of
slopes as long as every step is linear.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from astropy.modeling import CompoundModel, Model, models

__all__ = ["Chain", "Slope", "chains"]


class Slope(NamedTuple):
    """The slope of one step: a function of one parameter, and the number of that parameter in the whole model."""

    function: Callable[[Any], Any]
    parameter: int


Slopes = tuple[Slope, ...] | None  # their product; None if the steps are not linear
_SAME: Slopes = ()


@dataclass(frozen=True)
class Chain:
    """A simple model and the slopes around it."""

    model: Model
    first: int  # number of its first parameter
    before: tuple[Slopes, ...]  # of each of its inputs by the coordinate that it is made of
    behind: Slopes  # of the output by its value
    lifted: bool = False  # a constant is added to its value


def chains(model: Model) -> list[Chain]:
    """Of each simple model, in the order of their parameters."""
    return list(_chains(model, 0, (_SAME,) * model.n_inputs, _SAME, False))


def _chains(model: Model, first: int, before: tuple[Slopes, ...], behind: Slopes, lifted: bool) -> Iterator[Chain]:
    if not isinstance(model, CompoundModel):
        yield Chain(model, first, before, behind, lifted)
        return
    n_left = model.left.n_inputs
    if model.op == "fix_inputs":
        yield from _chains(model.left, first, _with_held(model, before), behind, lifted)
        return
    second = first + len(model.left.param_names)
    if model.op == "|":
        own = _through(model.right, second, (_SAME,) * model.right.n_inputs) if model.right.n_inputs == 1 else (None,)
        after = _product(own[0], behind) if len(own) == 1 else None
        yield from _chains(model.left, first, before, after, lifted or _lifts(model.right))
        yield from _chains(model.right, second, _through(model.left, first, before), behind, lifted)
        return
    of_right = before[n_left:] if model.op == "&" else before
    yield from _chains(model.left, first, before[:n_left], behind, lifted)
    yield from _chains(model.right, second, of_right, behind, lifted)


def _with_held(model: CompoundModel, before: Sequence[Slopes]) -> tuple[Slopes, ...]:
    """Slopes of all inputs of the model inside ``fix_inputs``; a held one stays as it is."""
    names = model.left.inputs
    held = {names.index(key) if isinstance(key, str) else int(key) for key in model.right}
    rest = iter(before)
    return tuple(_SAME if i in held else next(rest) for i in range(model.left.n_inputs))


def _through(model: Model, first: int, before: tuple[Slopes, ...]) -> tuple[Slopes, ...]:
    """Slopes of the outputs of a model whose inputs have the slopes ``before``."""
    if isinstance(model, CompoundModel):
        if model.op not in ("|", "&"):
            return (None,) * model.n_outputs
        second = first + len(model.left.param_names)
        if model.op == "|":
            return _through(model.right, second, _through(model.left, first, before))
        n_left = model.left.n_inputs
        return _through(model.left, first, before[:n_left]) + _through(model.right, second, before[n_left:])
    kind = type(model)
    if kind in (models.Shift, models.Identity):
        return before
    if kind is models.Rotation2D and before == (_SAME, _SAME):
        return before  # lengths and areas stay
    if kind is models.Mapping and sorted(model.mapping) == list(range(model.n_inputs)):
        return tuple(before[i] for i in model.mapping)
    own = _slope(model, first)
    return (None,) * model.n_outputs if own is None else (_product(before[0], (own,)),)


def _slope(model: Model, first: int) -> Slope | None:
    """The slope of a simple model that is linear in its only input."""
    kind = type(model)
    if kind in (models.Scale, models.Multiply, models.Linear1D):
        return Slope(lambda slope: slope, first)
    if kind is models.RedshiftScaleFactor:
        return Slope(lambda z: 1.0 + z, first)
    if kind is models.Polynomial1D and model.degree == 1:
        mapped = model.domain is not None and tuple(model.domain) != tuple(model.window)
        return None if mapped else Slope(lambda slope: slope, first + 1)
    return None


def _lifts(model: Model) -> bool:
    """Whether a linear model adds a constant."""
    if isinstance(model, CompoundModel):
        return isinstance(model.right, Model) and (_lifts(model.left) or _lifts(model.right))
    return type(model) in (models.Shift, models.Linear1D, models.Polynomial1D)


def _product(a: Slopes, b: Slopes) -> Slopes:
    return None if a is None or b is None else a + b
