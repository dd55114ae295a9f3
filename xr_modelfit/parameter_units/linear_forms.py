"""Homogeneous linear equations over the rationals, solved exactly.

A form is a sum of symbols, each times a fraction; an equation says that it is 0. Symbols are tuples whose first part
is their kind. Some kinds are known (the unit of the output, say): the others are expressed by them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from fractions import Fraction
from typing import Any, NamedTuple

__all__ = ["Form", "Symbol", "System", "consistent", "multiple", "plus"]

Symbol = tuple[Any, ...]
Form = dict[Symbol, Fraction]


def plus(one: Mapping[Symbol, Fraction], other: Mapping[Symbol, Fraction], times: Fraction | int = 1) -> Form:
    """``one + times * other``."""
    out = dict(one)
    for symbol, factor in other.items():
        total = out.pop(symbol, Fraction(0)) + times * factor
        if total:
            out[symbol] = total
    return out


def multiple(one: Mapping[Symbol, Fraction], times: Fraction | int) -> Form:
    """A form times a number."""
    return plus({}, one, times)


class _Row(NamedTuple):
    """An equation in which one symbol has the factor 1, and the equations that it was made of."""

    form: Form
    made_of: Form


class System:
    """Equations that do not contradict each other.

    ``known`` has the kinds of the symbols that are known. ``is_zero`` says whether a form of known symbols is 0 though
    it is not empty: two inputs in the same unit, for example.
    """

    def __init__(self, known: Container[str], is_zero: Callable[[Form], bool] = lambda form: not form) -> None:
        self._known, self._is_zero = known, is_zero
        self._rows: dict[Symbol, _Row] = {}

    def left(self, form: Form) -> Form:
        """A form in which symbols that follow from others are replaced by these."""
        return self._reduced(form).form

    def _reduced(self, form: Form) -> _Row:
        out, made_of = dict(form), Form()
        for symbol, factor in form.items():
            row = self._rows.get(symbol)
            if row is not None:
                out, made_of = plus(out, row.form, -factor), plus(made_of, row.made_of, -factor)
        return _Row(out, made_of)

    def add(self, form: Form, name: Symbol) -> Form | None:
        """Add an equation and return None; if others contradict it, return their names and do not add it."""
        out, made_of = self._reduced(form)
        made_of = plus(made_of, {name: Fraction(1)})
        pivot = next((symbol for symbol in out if symbol[0] not in self._known), None)
        if pivot is None:
            return None if self._is_zero(out) else made_of
        new = _Row(multiple(out, 1 / out[pivot]), multiple(made_of, 1 / out[pivot]))
        for symbol, (row, names) in self._rows.items():
            if factor := row.get(pivot):
                self._rows[symbol] = _Row(plus(row, new.form, -factor), plus(names, new.made_of, -factor))
        self._rows[pivot] = new
        return None

    def allows(self, form: Form) -> bool:
        """Whether an equation contradicts no other."""
        out = self.left(form)
        return any(symbol[0] not in self._known for symbol in out) or self._is_zero(out)

    def add_if_allowed(self, form: Form) -> bool:
        """Add an equation unless others contradict it, and say whether it was added."""
        return self.add(form, ("preferred",)) is None

    def value(self, symbol: Symbol) -> Form | None:
        """A symbol in terms of known ones; None if it is open."""
        out = self.left({symbol: Fraction(1)})
        return out if all(s[0] in self._known for s in out) else None


def consistent(
    make: Callable[[], System], certain: Iterable[tuple[Symbol, Form]], equations: Iterable[tuple[Symbol, Form]]
) -> tuple[System, list[list[Symbol]]]:
    """The system of all equations but those that contradict each other, and the names of these.

    ``certain`` equations stay. Of others that contradict each other none does: what follows from them is not known.
    """
    first, left = list(certain), list(equations)
    contradictions: list[list[Symbol]] = []
    while True:
        system = make()
        for name, form in first:
            system.add(form, name)
        for name, form in left:
            names = system.add(form, name)
            if names is not None:
                contradictions.append([one for one, _ in left if one in names])
                left = [one for one in left if one[0] not in names]
                break
        else:
            return system, contradictions
