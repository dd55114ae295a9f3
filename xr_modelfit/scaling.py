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

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from astropy.modeling import CompoundModel, Model
from astropy.modeling.polynomial import PolynomialModel

from xr_modelfit.dimension import Dimension, astropy_rules, is_mapped
from xr_modelfit.expression import evaluate_tree, leaves
from xr_modelfit.single_terms import single_terms
from xr_modelfit.tables import inner_of, scaled_tables
from xr_modelfit.telling_points import moderate_changes, telling_points

__all__ = ["dimensions"]

_Scale = tuple[float, int | None, float]  # of the output; a group of inputs, and the factor of these
_AS_IT_IS: _Scale = (1.0, None, 1.0)

_TRIES = 3  # parameter vectors that a law is tried on
_DENOMINATOR = 6  # exponents are multiples of a sixth
_CLOSE = 1e-9  # a law holds to this much of the largest value
_FACTORS = (2.0, 0.125)  # powers of two: numbers are scaled without rounding


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
        found = laws.solve()
        if None in found:
            laws, found = _where_it_tells(laws, found)
        return laws.with_places(found)


def _where_it_tells(laws: _Laws, found: list[Dimension | None]) -> tuple[_Laws, list[Dimension | None]]:
    """The laws and what they tell at points about the model's own numbers, where they tell more there."""
    first = laws
    unknown = [j for j, one in enumerate(found) if one is None]
    for points in telling_points(first.evaluate, first.vectors[0], len(first.probe), unknown):
        there = _Laws(first.model, points, first.groups, moderate=True)
        again = there.solve()
        if None in again and (places := there.places(range(len(again)))):
            there = _Laws(first.model, points, first.groups, moderate=True, places=places, origins=there.beside)
            again = there.solve()
        more = again.count(None) < found.count(None) and there.measures_places(again)
        if more and all(one.agrees_with(there, again) for one in (there, first)):
            laws, found = there, again
        if None not in found:
            break
    return laws, found


class _Laws:
    """The two laws for one model, on several parameter vectors."""

    def __init__(
        self,
        model: Model,
        probe: Sequence[np.ndarray],
        groups: Sequence[int],
        *,
        moderate: bool = False,
        places: Mapping[int, int] | None = None,
        origins: np.ndarray | None = None,
    ) -> None:
        self.model, self.groups, self.moderate = model, list(groups), moderate
        self.tables: list[Any] = [leaf for leaf in leaves(model) if inner_of(leaf) is not None]
        for table in self.tables:  # the model is a copy
            table.bounds_error = False
        self.approximate: list[Dimension] = []  # what Euler's form gives, before it is rounded
        self.n_groups = max(self.groups, default=-1) + 1
        probe = [np.asarray(x, dtype=float) for x in probe]
        spans = [float(np.ptp(x[np.isfinite(x)])) if np.isfinite(x).any() else 0.0 for x in probe]
        self.shifts = [2.0 ** np.round(np.log2(span / 4)) if span > 0 else 1.0 for span in spans]
        self.shift = max(self.shifts, default=1.0)  # on the scale of the inputs
        start = np.array([float(np.ravel(getattr(model, name).value)[0]) for name in model.param_names])
        nonzero = np.where(start == 0, 1.0, start)
        self.origin_places = dict(places or {})
        self.origins = np.zeros(len(probe))
        for j, i in self.origin_places.items():
            self.origins[i] = nonzero[j] if origins is None else origins[j]
        self.close = _CLOSE
        if moderate:  # what is narrow for its place is rounded
            rounded = [np.max(np.abs(x)) * np.finfo(float).eps / span for x, span in zip(probe, spans, strict=True)]
            self.close = min(max(_CLOSE, 30 * max(rounded)), 1e-5)
        self.probe = [x - origin for x, origin in zip(probe, self.origins, strict=True)]
        nonzero = nonzero - self._origin_of_parameters(start.size)
        rng = np.random.default_rng(0)
        self.vectors, self.values = [nonzero], [self.evaluate(self.probe, nonzero)]
        change = moderate_changes(self.evaluate, self.probe, nonzero, 0.3) if moderate else np.full(start.size, 0.3)
        self.beside = nonzero - change * np.abs(nonzero)  # for a place, off by about a width
        for width in (0.3, 0.3, 0.03, 3e-3, 3e-4, 3e-5):  # a narrow line is soon out of sight
            p = nonzero * (1 + np.minimum(width, change) * rng.uniform(-1, 1, start.size))
            values = self.evaluate(self.probe, p)
            if len(self.vectors) < _TRIES and _says_something(values):
                self.vectors.append(p)
                self.values.append(values)

    def _origin_of_parameters(self, n: int) -> np.ndarray:
        return np.array([self.origins[self.origin_places[j]] if j in self.origin_places else 0.0 for j in range(n)])

    def solve(self) -> list[Dimension | None]:
        K = len(self.model.param_names)
        if K == 0:
            return []
        if isinstance(self.model, PolynomialModel) and is_mapped(self.model):
            return [Dimension(Fraction(1), (Fraction(0),) * self.n_groups)] * K  # its argument is a pure number
        if not any(_says_something(v) for v in self.values):
            return [None] * K
        rules = astropy_rules(self.model, self.groups, self.n_groups)
        if rules is not None and self._holds([r if r is not None else Dimension() for r in rules]):
            return [r if r is not None else Dimension(inputs=(Fraction(0),) * self.n_groups) for r in rules]
        none = [Dimension(inputs=(Fraction(0),) * self.n_groups)] * K
        if self.tables and self._holds(none) and all(self._is_evident(j, none, 100 * self.close) for j in range(K)):
            return [*none]  # a table has kinks, where differences say little
        solved = self._solve_euler()
        if solved is not None:
            return solved
        if len(self.probe) != 1 or len(self.vectors) < 2 or self.moderate:  # one vector alone proves nothing
            return [None] * K
        return single_terms(self.evaluate, self.probe[0], self.vectors, self.values)

    def agrees_with(self, other: _Laws, found: Sequence[Dimension | None]) -> bool:
        """Whether what was found at other points holds at these, as far as anything is to be seen here."""
        seen = max((float(np.nanmax(np.abs(v), initial=0.0)) for v in self.values if v is not None), default=0.0)
        known = [one for one in found if one is not None]
        exact = len(known) == len(found)
        return seen < 1e-100 or self._holds(known if exact else other.approximate, None if exact else 1e-4)

    def measures_places(self, found: Sequence[Dimension | None]) -> bool:
        """Whether places that numbers are counted from have the dimension of their input: else they may not be."""
        for j, i in self.origin_places.items():
            one = found[j]
            if one is None or one.output != 0 or _of(one, self.groups[i]) != 1 or sum(one.inputs) != 1:
                return False
        return True

    def places(self, candidates: Iterable[int]) -> dict[int, int]:
        """Parameters that are a place along an input, which is their value here."""
        found: dict[int, int] = {}
        for j in candidates:
            for i in range(len(self.probe)):
                if self._moves({j: i}):
                    found[j] = i
        return found

    def with_places(self, found: list[Dimension | None]) -> list[Dimension | None]:
        """The same, with what is a place along an input, what a width, and what a level of the output."""
        along = [j for j, one in enumerate(found) if one is not None and one.output == 0 and sum(one.inputs) == 1]
        places = self.places(along)
        whole = bool(places) and self._moves(places)
        return [
            replace(one, place=places.get(j), width=whole and j in along and j not in places, level=self._lifts(j, one))
            if one is not None
            else None
            for j, one in enumerate(found)
        ]

    def _moves(self, places: Mapping[int, int]) -> bool:
        """Whether nothing changes when these parameters move as their inputs do."""
        inputs = [x + self.shifts[i] if i in places.values() else x for i, x in enumerate(self.probe)]
        moved = np.array([self.shifts[places[j]] if j in places else 0.0 for j in range(self.vectors[0].size)])
        return self._same(inputs, lambda p: p + moved)

    def _lifts(self, j: int, one: Dimension) -> bool:
        """Whether a constant added to this parameter is added to all values."""
        if one.output != 1 or any(one.inputs):
            return False
        for p, before in zip(self.vectors, self.values, strict=True):
            size = np.max(np.abs(before[np.isfinite(before)]), initial=0.0) if before is not None else 0.0
            lift = size if size > 0 else 1.0
            after = self.evaluate(self.probe, np.where(np.arange(p.size) == j, p + lift, p))
            if before is None or after is None:
                return False
            here = np.isfinite(before)
            if not here.any() or not np.all(np.abs(after[here] - before[here] - lift) <= _CLOSE * lift):
                return False
        return True

    def evaluate(
        self, inputs: Sequence[np.ndarray], parameters: np.ndarray, scale: _Scale = _AS_IT_IS
    ) -> np.ndarray | None:
        """Values of the model, whose tables are scaled as the inputs and the output are; None where it has none."""
        try:
            inputs = [x + origin for x, origin in zip(inputs, self.origins, strict=True)]
            parameters = parameters + self._origin_of_parameters(parameters.size)
            with scaled_tables(self.model, self.groups, *scale) if self.tables else nullcontext():
                values = evaluate_tree(self.model, inputs, list(parameters), careless=True)
            return np.broadcast_to(np.asarray(values, dtype=float), inputs[0].shape)
        except Exception:
            return None  # says nothing there

    def _holds(self, exponents: Sequence[Dimension], close: float | None = None, *, moved: bool = True) -> bool:
        """Whether the laws hold for these exponents."""
        output = np.array([float(e.output) for e in exponents])
        larger = (self._same(self.probe, lambda p, s=s: p * s**output, (s, None, 1.0), close) for s in _FACTORS)
        if not all(larger):
            return False
        for g in range(self.n_groups):
            powers = np.array([float(_of(e, g)) for e in exponents])
            scaled = (
                self._same(self._scaled(g, s), lambda p, s=s, b=powers: p * s**b, (1.0, g, s), close) for s in _FACTORS
            )
            if not all(scaled) and not (
                # A magnitude has no factor; it has a zero point that may be moved.
                moved and self._same(self._moved(g), lambda p, b=powers: np.where(b == 1, p + self.shift, p))
            ):
                return False
        return True

    def _same(
        self, inputs: Sequence[np.ndarray], change: Any, scale: _Scale = _AS_IT_IS, close: float | None = None
    ) -> bool:
        """Whether the changed parameters at other inputs give the old values, times the factor of the output."""
        close, factor = self.close if close is None else close, scale[0]
        for p, before in zip(self.vectors, self.values, strict=True):
            after = self.evaluate(inputs, change(p), scale)
            if before is None or after is None:
                return False
            here = np.isfinite(before)
            size = np.max(np.abs(before[here]), initial=0.0) * factor
            if not np.all(np.abs(after[here] - factor * before[here]) <= close * size):
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
        solutions, raw = [], []
        for right in rights:
            solution = np.linalg.lstsq(scaled, right, rcond=1e-6)[0] / np.where(length > 0, length, 1.0)
            if np.max(np.abs(matrix @ solution - right), initial=0.0) > 1e-5 * np.max(np.abs(right), initial=1e-300):
                return None
            raw.append(solution)
            solutions.append([_rational(v) if k else None for v, k in zip(solution, known, strict=True)])
        self.approximate = [Dimension(one[0], tuple(one[1:])) for one in zip(*raw, strict=True)]
        return self._tried(solutions)

    def _euler_sides(self) -> tuple[np.ndarray, list[np.ndarray]] | None:
        """Matrix (rows, K) of p df/dp, and right sides: f, then -x df/dx of each group of inputs."""
        K = len(self.model.param_names)
        rows: list[np.ndarray] = []
        for p, value in zip(self.vectors, self.values, strict=True):
            slopes = [self._slope(p, j) for j in range(K)]
            value = value if value is None or not self.tables else self._without_tables(p, value)
            inputs = [self._input_slope(p, g) for g in range(self.n_groups)]
            parts = [part for part in (*slopes, value, *inputs) if part is not None]
            if len(parts) < K + 1 + self.n_groups:
                return None
            table = np.stack(parts, axis=1)
            rows.append(table[np.all(np.isfinite(table), axis=1)])
        table = np.concatenate(rows)
        return table[:, :K], [table[:, K], *(-column for column in table[:, K + 1 :].T)]

    def _tried(self, solutions: list[list[Fraction | None]]) -> list[Dimension | None] | None:
        """The exponents where they hold, and would not if they were others; open ones are left open."""
        by_parameter = list(zip(*solutions, strict=True))
        if any(None in one and any(v is not None for v in one) for one in by_parameter):
            return None  # no multiple of a sixth
        found = [None if None in one else Dimension(one[0], tuple(one[1:])) for one in by_parameter]
        exact = None not in found
        whole = [e if d is None else d for d, e in zip(found, self.approximate, strict=True)]
        if exact and not self._holds(whole):
            return None
        close = 100 * self.close if exact else 1e-3
        return [one if one is not None and self._is_evident(j, whole, close) else None for j, one in enumerate(found)]

    def _is_evident(self, j: int, exponents: Sequence[Dimension], close: float) -> bool:
        """Whether the laws would be seen to fail with other exponents of parameter ``j``: it has an effect here."""
        one = exponents[j]
        for g in range(-1, self.n_groups):
            inputs = tuple(p + (k == g) for k, p in enumerate(one.inputs))
            others = [*exponents[:j], Dimension(one.output + (g == -1), inputs), *exponents[j + 1 :]]
            if self._holds(others, close, moved=False):
                return False
        return True

    def _slope(self, p: np.ndarray, j: int) -> np.ndarray | None:
        """p_j df/dp_j, shape (n,)."""
        return self._difference(lambda s: (self.probe, np.where(np.arange(p.size) == j, p * s, p)))

    def _input_slope(self, p: np.ndarray, group: int) -> np.ndarray | None:
        """x df/dx over the inputs of a group, shape (n,)."""
        return self._difference(lambda s: (self._scaled(group, s), p, (1.0, group, s)))

    def _without_tables(self, p: np.ndarray, value: np.ndarray) -> np.ndarray | None:
        """Values less what is in proportion to tables in the unit of the output, shape (n,)."""
        slope = self._difference(lambda s: (self.probe, p, (s, None, 1.0)))
        if slope is None:
            return None
        left = value - slope
        return left if np.nanmax(np.abs(left), initial=0.0) > _CLOSE * np.nanmax(np.abs(value)) else 0 * left

    def _difference(self, at: Any) -> np.ndarray | None:
        """Derivative with respect to the logarithm of a factor, by differences of fourth order."""
        here = self.evaluate(*at(1.0))
        for h in (1e-3, 1e-5, 1e-7, 1e-9):  # a step must not carry a narrow line out of sight
            values = [v for k in (-2, -1, 1, 2) if (v := self.evaluate(*at(np.exp(k * h)))) is not None]
            if here is None or len(values) < 4:
                return None
            size = np.nanmax(np.abs(here), initial=0.0)
            if all(np.nanmax(np.abs(v - here), initial=0.0) <= 0.1 * size for v in (values[0], values[3])):
                a, b, c, d = values
                slope = np.asarray((8 * (c - b) - (d - a)) / (12 * h))
                # Rounding must not be read as an effect; between the points of a table, that of an input is more.
                rounding = (1000 if self.tables else 8) * np.finfo(float).eps * size / h
                return slope if np.nanmax(np.abs(slope), initial=0.0) > rounding else 0 * slope
        return None


def _says_something(values: np.ndarray | None) -> bool:
    return values is not None and bool(np.any(np.isfinite(values) & (values != 0)))


def _of(exponents: Dimension, group: int) -> Fraction:
    return exponents.inputs[group] if group < len(exponents.inputs) else Fraction(0)


def _rational(value: float) -> Fraction | None:
    nearest = Fraction(round(value * _DENOMINATOR), _DENOMINATOR)
    return nearest if abs(float(nearest) - value) < 1e-3 else None
