"""How the parameters of a model scale with its inputs and its output: their dimensions, found out.

A parameter has the dimension Y^a X1^b1 X2^b2 ..., where Y is the dimension of the output and Xi
that of an input, when

    f(s x; s^b p) = f(x; p)    and    f(x; s^a p) = s f(x; p)    for every factor s.

What astropy says of a model's parameters is tried by these laws. Where it says nothing, or what
does not hold, the exponents are solved from Euler's form of them,

    x df/dx + sum_j b_j p_j df/dp_j = 0    and    sum_j a_j p_j df/dp_j = f,

and tried in the same way. A model with constants of its own (an annual wave) has no such law; then
single terms are looked at: a parameter times a power of the input, or times a sine of it. Exponents
that the laws leave open (of two factors of a product, say) stay unknown: a unit is never guessed.
"""

from __future__ import annotations  # astropy's Model has an | operator of its own

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from astropy import units as u
from astropy.modeling import CompoundModel, Model
from astropy.modeling.polynomial import OrthoPolynomialBase, PolynomialModel

from xr_modelfit.expression import evaluate_tree

__all__ = ["Dimension", "dimensions"]

_TRIES = 3  # parameter vectors that a law is tried on
_DENOMINATOR = 6  # exponents are multiples of a sixth
_CLOSE = 1e-9  # a law holds to this much of the largest value
_FACTORS = (2.0, 0.125)  # powers of two: numbers are scaled without rounding


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


def dimensions(model: Model, probe: Sequence[np.ndarray], groups: Sequence[int]) -> list[Dimension | None]:
    """The dimension of each parameter, None where it cannot be known.

    Parameters
    ----------
    model : astropy.modeling.Model
        With one number for each parameter and no units.
    probe : sequence of ndarray, shape (n,)
        Values of each input where the model has something to say.
    groups : sequence of int
        For each input, the number of its group; inputs of a group have the same unit.

    Returns
    -------
    list of Dimension or None
        In the order of the model's parameters.
    """
    if isinstance(model, CompoundModel) and model.op in ("+", "-"):  # each term has the dimension of the sum
        left, right = (dimensions(part, probe, groups) for part in (model.left, model.right))
        if model.op == "-" and any(one.level for one in right if one is not None):  # its opposite
            return [one and replace(one, level=False) for one in left + right]
        return left + right
    with np.errstate(all="ignore"):
        laws = _Laws(model, probe, groups)
        return laws.with_places(laws.solve())


class _Laws:
    """The two laws for one model, on several parameter vectors."""

    def __init__(self, model: Model, probe: Sequence[np.ndarray], groups: Sequence[int]) -> None:
        self.model, self.probe, self.groups = model, [np.asarray(x, dtype=float) for x in probe], list(groups)
        self.n_groups = max(self.groups, default=-1) + 1
        span = max((float(np.ptp(x[np.isfinite(x)])) for x in self.probe if np.isfinite(x).any()), default=0.0)
        self.shift = 2.0 ** np.round(np.log2(span / 4)) if span > 0 else 1.0  # on the scale of the inputs
        start = np.array([float(np.ravel(getattr(model, name).value)[0]) for name in model.param_names])
        rng = np.random.default_rng(0)
        nonzero = np.where(start == 0, 1.0, start)
        self.vectors, self.values = [nonzero], [self._evaluate(self.probe, nonzero)]
        for width in (0.3, 0.3, 0.03, 3e-3, 3e-4, 3e-5):  # a narrow line is soon out of sight
            p = nonzero * (1 + rng.uniform(-width, width, start.size))
            values = self._evaluate(self.probe, p)
            if len(self.vectors) < _TRIES and _says_something(values):
                self.vectors.append(p)
                self.values.append(values)

    def solve(self) -> list[Dimension | None]:
        K = len(self.model.param_names)
        if K == 0:
            return []
        if isinstance(self.model, PolynomialModel) and _is_mapped(self.model):
            return [Dimension(Fraction(1), (Fraction(0),) * self.n_groups)] * K  # its argument is a pure number
        if not any(_says_something(v) for v in self.values):
            return [None] * K
        rules = _astropy_rules(self.model, self.groups, self.n_groups)
        if rules is not None and self._holds([r if r is not None else Dimension() for r in rules]):
            return [r if r is not None else Dimension(inputs=(Fraction(0),) * self.n_groups) for r in rules]
        solved = self._solve_euler()
        if solved is not None:
            return solved
        return self._terms()

    def with_places(self, found: list[Dimension | None]) -> list[Dimension | None]:
        """The same, with what is a place along an input, what a width, and what a level of the output."""
        along = [j for j, one in enumerate(found) if one is not None and one.output == 0 and sum(one.inputs) == 1]
        places: dict[int, int] = {}
        for j in along:
            for i in range(len(self.probe)):
                if self._moves({j: i}):
                    places[j] = i
        whole = bool(places) and self._moves(places)
        return [
            replace(one, place=places.get(j), width=whole and j in along and j not in places, level=self._lifts(j, one))
            if one is not None
            else None
            for j, one in enumerate(found)
        ]

    def _moves(self, places: Mapping[int, int]) -> bool:
        """Whether nothing changes when these parameters move as their inputs do."""
        inputs = [x + self.shift if i in places.values() else x for i, x in enumerate(self.probe)]
        return self._same(inputs, lambda p: p + self.shift * np.isin(np.arange(p.size), list(places)))

    def _lifts(self, j: int, one: Dimension) -> bool:
        """Whether a constant added to this parameter is added to all values."""
        if one.output != 1 or any(one.inputs):
            return False
        for p, before in zip(self.vectors, self.values, strict=True):
            size = np.max(np.abs(before[np.isfinite(before)]), initial=0.0) if before is not None else 0.0
            lift = size if size > 0 else 1.0
            after = self._evaluate(self.probe, np.where(np.arange(p.size) == j, p + lift, p))
            if before is None or after is None:
                return False
            here = np.isfinite(before)
            if not here.any() or not np.all(np.abs(after[here] - before[here] - lift) <= _CLOSE * lift):
                return False
        return True

    def _evaluate(self, inputs: Sequence[np.ndarray], parameters: np.ndarray) -> np.ndarray | None:
        try:
            values = evaluate_tree(self.model, inputs, list(parameters), careless=True)
            return np.broadcast_to(np.asarray(values, dtype=float), self.probe[0].shape)
        except Exception:
            return None  # says nothing there

    def _holds(self, exponents: Sequence[Dimension]) -> bool:
        """Whether the laws hold for these exponents."""
        output = np.array([float(e.output) for e in exponents])
        if not all(self._same(self.probe, lambda p, s=s: p * s**output, s) for s in _FACTORS):
            return False
        for g in range(self.n_groups):
            powers = np.array([float(_of(e, g)) for e in exponents])
            if not all(self._same(self._scaled(g, s), lambda p, s=s, b=powers: p * s**b) for s in _FACTORS) and not (
                # A magnitude has no factor; it has a zero point that may be moved.
                self._same(self._moved(g), lambda p, b=powers: np.where(b == 1, p + self.shift, p))
            ):
                return False
        return True

    def _same(self, inputs: Sequence[np.ndarray], change: Any, factor: float = 1.0) -> bool:
        """Whether the changed parameters at other inputs give the old values, times a factor."""
        for p, before in zip(self.vectors, self.values, strict=True):
            after = self._evaluate(inputs, change(p))
            if before is None or after is None:
                return False
            here = np.isfinite(before)
            size = np.max(np.abs(before[here]), initial=0.0) * factor
            if not np.all(np.abs(after[here] - factor * before[here]) <= _CLOSE * size):
                return False
        return True

    def _scaled(self, group: int, factor: float) -> list[np.ndarray]:
        return [x * factor if g == group else x for x, g in zip(self.probe, self.groups, strict=True)]

    def _moved(self, group: int) -> list[np.ndarray]:
        return [x + self.shift if g == group else x for x, g in zip(self.probe, self.groups, strict=True)]

    def _solve_euler(self) -> list[Dimension | None] | None:
        sides = self._euler_sides()
        if sides is None:
            return None
        matrix, rights = sides
        length = np.sqrt(np.sum(matrix**2, axis=0))
        if matrix.shape[0] <= matrix.shape[1] or not np.any(length > 0):
            return None
        scaled = matrix / np.where(length > 0, length, 1.0)
        _, singular, vt = np.linalg.svd(scaled, full_matrices=True)
        rank = int(np.sum(singular > 1e-6 * singular[0]))
        known = np.sqrt(np.sum(vt[rank:] ** 2, axis=0)) < 1e-4
        solutions = []
        for right in rights:
            solution = np.linalg.lstsq(scaled, right, rcond=1e-6)[0] / np.where(length > 0, length, 1.0)
            if np.max(np.abs(matrix @ solution - right), initial=0.0) > 1e-5 * np.max(np.abs(right), initial=1e-300):
                return None
            solutions.append([_rational(v) if k else None for v, k in zip(solution, known, strict=True)])
        return self._tried(solutions)

    def _euler_sides(self) -> tuple[np.ndarray, list[np.ndarray]] | None:
        """Matrix (rows, K) of p df/dp, and right sides: f, then -x df/dx of each group of inputs."""
        K = len(self.model.param_names)
        rows: list[np.ndarray] = []
        for p, value in zip(self.vectors, self.values, strict=True):
            slopes = [self._slope(p, j) for j in range(K)]
            inputs = [self._input_slope(p, g) for g in range(self.n_groups)]
            parts = [part for part in (*slopes, value, *inputs) if part is not None]
            if len(parts) < K + 1 + self.n_groups:
                return None
            table = np.stack(parts, axis=1)
            rows.append(table[np.all(np.isfinite(table), axis=1)])
        table = np.concatenate(rows)
        return table[:, :K], [table[:, K], *(-column for column in table[:, K + 1 :].T)]

    def _tried(self, solutions: list[list[Fraction | None]]) -> list[Dimension | None] | None:
        """The exponents where all are known and hold; open ones are left open."""
        by_parameter = list(zip(*solutions, strict=True))
        if any(None in one and any(v is not None for v in one) for one in by_parameter):
            return None  # no multiple of a sixth
        found = [None if None in one else Dimension(one[0], tuple(one[1:])) for one in by_parameter]
        if all(d is not None for d in found) and not self._holds([d for d in found if d is not None]):
            return None
        return found

    def _slope(self, p: np.ndarray, j: int) -> np.ndarray | None:
        """p_j df/dp_j, shape (n,)."""
        return self._difference(lambda s: (self.probe, np.where(np.arange(p.size) == j, p * s, p)))

    def _input_slope(self, p: np.ndarray, group: int) -> np.ndarray | None:
        """x df/dx over the inputs of a group, shape (n,)."""
        return self._difference(lambda s: (self._scaled(group, s), p))

    def _difference(self, at: Any) -> np.ndarray | None:
        """Derivative with respect to the logarithm of a factor, by differences of fourth order."""
        here = self._evaluate(*at(1.0))
        for h in (1e-3, 1e-5, 1e-7, 1e-9):  # a step must not carry a narrow line out of sight
            values = [v for k in (-2, -1, 1, 2) if (v := self._evaluate(*at(np.exp(k * h)))) is not None]
            if here is None or len(values) < 4:
                return None
            size = np.nanmax(np.abs(here), initial=0.0)
            if all(np.nanmax(np.abs(v - here), initial=0.0) <= 0.1 * size for v in (values[0], values[3])):
                a, b, c, d = values
                return np.asarray((a - 8 * b + 8 * c - d) / (12 * h))
        return None

    def _terms(self) -> list[Dimension | None]:
        """Terms of a model with hidden constants: a parameter times a power of the input, or times a wave."""
        if len(self.probe) != 1 or len(self.vectors) < 2:  # one vector alone proves nothing
            return [None] * len(self.model.param_names)
        return [self._term(j) for j in range(len(self.model.param_names))]

    def _term(self, j: int) -> Dimension | None:
        x = self.probe[0]
        tried = [self._factor(j, p, value) for p, value in zip(self.vectors, self.values, strict=True)]
        factors = [f for f in tried if f is not None]
        if len(factors) < len(tried):
            return None
        for power in range(4):
            if all(_close(f, x**power) for f in factors):
                return Dimension(Fraction(1), (Fraction(-power),))
        if all(_close(f, factors[0]) for f in factors) and self._is_wave(j):
            return Dimension(Fraction(1), (Fraction(0),))  # the argument is an angle, whatever makes it one
        return None

    def _factor(self, j: int, p: np.ndarray, value: np.ndarray | None = None, shift: float = 0.0) -> np.ndarray | None:
        """What parameter ``j`` is multiplied by, at the inputs plus ``shift``; None if it is no mere factor."""
        inputs = [x + shift for x in self.probe]
        value = self._evaluate(inputs, p) if value is None else value
        more = self._evaluate(inputs, np.where(np.arange(p.size) == j, 2 * p, p))
        less = self._evaluate(inputs, np.where(np.arange(p.size) == j, 0.0, p))
        if value is None or more is None or less is None:
            return None
        if not np.all(np.abs(more - 2 * value + less) <= _CLOSE * np.max(np.abs(value), initial=0.0)):
            return None
        return (more - less) / (2 * p[j])

    def _is_wave(self, j: int) -> bool:
        """Whether it is a sine or cosine of the input, of amplitude 1: g(x+h) + g(x-h) = 2 cos(wh) g(x)."""
        span = float(np.ptp(self.probe[0]))
        for h in span * 10.0 ** np.arange(2.0, -6.0, -0.3):
            g = [v for s in (-h, 0.0, h) if (v := self._factor(j, self.vectors[0], shift=s)) is not None]
            if len(g) < 3:
                return False
            before, here, after = g
            cosine = np.sum((before + after) * here) / (2 * np.sum(here**2))
            if 0.3 < abs(cosine) < 0.95:
                quadrature = (after - before) / (2 * np.sqrt(1 - cosine**2))
                return bool(np.allclose(here**2 + quadrature**2, 1.0, rtol=1e-5))
        return False


def _says_something(values: np.ndarray | None) -> bool:
    return values is not None and bool(np.any(np.isfinite(values) & (values != 0)))


def _close(values: np.ndarray, expected: np.ndarray) -> bool:
    return np.allclose(values, expected, rtol=1e-6, atol=1e-9 * np.max(np.abs(values)))


def _of(exponents: Dimension, group: int) -> Fraction:
    return exponents.inputs[group] if group < len(exponents.inputs) else Fraction(0)


def _rational(value: float) -> Fraction | None:
    nearest = Fraction(round(value * _DENOMINATOR), _DENOMINATOR)
    return nearest if abs(float(nearest) - value) < 1e-3 else None


def _is_mapped(model: PolynomialModel) -> bool:
    """Whether a polynomial maps its inputs to a window first, which makes a pure number of them."""
    pairs = [(model.domain, model.window)] if model.n_inputs == 1 else []
    if model.n_inputs == 2:
        pairs = [(model.x_domain, model.x_window), (model.y_domain, model.y_window)]
    mapped = [domain is not None and tuple(domain) != tuple(window) for domain, window in pairs]
    if isinstance(model, OrthoPolynomialBase) or model.n_inputs == 1:
        return all(mapped)
    return bool(mapped) and all(mapped)


def _astropy_rules(model: Model, groups: Sequence[int], n_groups: int) -> list[Dimension | None] | None:
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
