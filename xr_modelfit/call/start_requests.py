"""What ``p0`` asks for: values, estimates from the data, and how many starts there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.call.in_order import no_starts
from xr_modelfit.messages import listed, suggestion

__all__ = ["ESTIMATE", "SEVERAL", "StartRequest", "described_starts", "requests_of"]

ESTIMATE = "estimate"
SEVERAL = "start"  # the dim along which maps of starts have several
_WORDS = (ESTIMATE, "mean", "coarse")


@dataclass(frozen=True)
class StartRequest:
    """One start of each fit."""

    values: Mapping[str, Any] | xr.Dataset | None = None  # starts by parameter, as the user gave them
    estimated: frozenset[str] | None = frozenset()  # parameters that are estimated from the data; None: all that can be
    function: Callable[..., Mapping[str, Any]] | None = None  # what the user wants to estimate them by

    @property
    def described(self) -> Any:
        """What the record says of it; None where starts are given."""
        if self.function is not None:
            return f"function {getattr(self.function, '__qualname__', type(self.function).__name__)}"
        return ESTIMATE if self.estimated is None else sorted(self.estimated) or None


def requests_of(p0: Any, dims: Any = (), names: Sequence[str] = ()) -> list[StartRequest]:
    """The starts that ``p0`` asks for, as the user gave it: one or several.

    Unless one of the ``dims`` of the data is called "start", maps along a dim of this name have several starts. Raises
    TypeError or ValueError if ``p0`` is nothing of the kind; ``names`` of parameters are for its message.
    """
    if isinstance(p0, list | tuple):
        if not p0:
            raise ValueError("p0 is empty; pass one start or more, or leave it out to start from the model's values.")
        if all(isinstance(part, int | float | np.number) for part in p0):
            raise no_starts(p0, names)  # one number for each parameter, as scipy takes them
        return [one for part in p0 for one in _single(part, dims, names)]
    return _single(p0, dims, names)


def _single(p0: Any, dims: Any, names: Sequence[str]) -> list[StartRequest]:
    if isinstance(p0, str):
        if p0 != ESTIMATE:
            within = " Pass it alone, not in a list." if p0 in _WORDS else suggestion(p0, _WORDS)
            raise ValueError(f"p0 is {p0!r}; known words are {listed(_WORDS)}.{within}")
        return [StartRequest(estimated=None)]
    if callable(p0) and not isinstance(p0, Mapping | xr.Dataset):
        return [StartRequest(estimated=None, function=p0)]
    if p0 is not None and not isinstance(p0, Mapping | xr.Dataset):
        raise no_starts(p0, names)
    words = {} if p0 is None else {str(k): v for k, v in p0.items() if isinstance(v, str)}
    for name, word in words.items():
        if word != ESTIMATE:
            raise TypeError(
                f"p0[{name!r}] is {word!r}; pass a number or a DataArray, or {ESTIMATE!r}."
                f"{suggestion(word, [ESTIMATE])} With a unit it is a Quantity: 2.0 * astropy.units.Unit('K')."
            )
    values: Any = p0 if p0 is None or not words else {k: v for k, v in p0.items() if str(k) not in words}
    one = StartRequest(values, frozenset(words))
    return [one] if SEVERAL in dims else _along_starts(one)


def _along_starts(one: StartRequest) -> list[StartRequest]:
    """The requests in maps along the dim of starts."""
    values = one.values
    if values is None:
        return [one]
    arrays = values.data_vars if isinstance(values, xr.Dataset) else values
    sizes = {k: v.sizes[SEVERAL] for k, v in arrays.items() if isinstance(v, xr.DataArray) and SEVERAL in v.dims}
    if not sizes:
        return [one]
    if len(set(sizes.values())) > 1 or 0 in sizes.values():
        raise ValueError(f"Maps in p0 have different numbers of starts along {SEVERAL!r}, or none: {sizes}.")
    n = next(iter(sizes.values()))
    if isinstance(values, xr.Dataset):
        return [replace(one, values=values.isel({SEVERAL: i}, drop=True)) for i in range(n)]
    return [
        replace(one, values={k: v.isel({SEVERAL: i}, drop=True) if k in sizes else v for k, v in values.items()})
        for i in range(n)
    ]


def described_starts(p0: Any, dims: Any = ()) -> dict[str, Any]:
    """What the record says of starts that the call does not give itself; nothing where it gives them."""
    if isinstance(p0, str):
        return {"starts": p0}
    if hasattr(p0, "described"):
        return {"starts": p0.described}
    described = [one.described for one in requests_of(p0, dims)]
    if not any(described):
        return {}
    return {"starts": described[0] if len(described) == 1 else ["given" if one is None else one for one in described]}
