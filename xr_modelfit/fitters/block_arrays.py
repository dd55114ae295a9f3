"""The arrays of a block as the fitters read them: by fit and by sample, in parts that stay small."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from xr_modelfit.fitters.block_task import PRIORS, BlockTask, Role
from xr_modelfit.fitters.priors import Priors
from xr_modelfit.fitters.samples import Samples, with_sides

__all__ = ["Block", "part_of"]

_PART = 2**20  # samples: 8 MB
_MATRICES = 2**23  # numbers in matrices: 64 MB


class Block:
    """The arrays of a block by role, flattened to fits and samples."""

    def __init__(self, arrays: Sequence[np.ndarray], task: BlockTask) -> None:
        self.task = task
        given = dict(zip(task.roles, arrays, strict=True))
        core = task.n_fitted_dims
        data = given[Role("data")]
        self.fitted = data.shape[data.ndim - core :]
        lead = [a.shape[: a.ndim - task.n_core(role)] for role, a in given.items()]
        self.shape = np.broadcast_shapes(*lead)
        self.b, self.n = int(np.prod(self.shape)), int(np.prod(self.fitted))
        self.given = given

    def parts(self) -> Iterator[tuple[slice, ...]]:
        """Cuts along the leading axes that keep copies of the samples small.

        Where NumPy iterates, many fits are needed to choose from as others end (`fitters.batch`).
        """
        problem = self.task.problem
        small = problem.traits.linear or problem.source is not None
        sampling = problem.sampling
        most = (_PART if small else 2 * _PART) // max(self.n if sampling is None else sampling.n_nodes, 1)
        if self.task.correlation is not None:  # many arrays like the samples are made, which should stay in cache
            most //= 4
        if Role("noise") in self.given:  # each fit may get a matrix of its own
            most = min(most, _MATRICES // max(self.n, 1) ** 2)
        return _cuts(self.shape, max(1, most))

    def part(self, at: tuple[slice, ...]) -> "Block":
        """The block of some of the fits."""
        return Block([part_of(a, at, self.task.n_core(role)) for role, a in self.given.items()], self.task)

    def samples(self) -> tuple[Samples, np.ndarray, np.ndarray]:
        """Samples, which are finite, and which are valid for other reasons; (b, n) each."""
        task = self.task
        y = self._sampled(Role("data"), every=True)
        sampling = task.problem.sampling
        whole = task.problem.traits.grid is not None or (sampling is not None and not sampling.disjoint)
        inputs = [self._spread(r) for r in task.roles if r.kind == "input"]
        finite = np.isfinite(y)
        for x in inputs if sampling is None or sampling.disjoint else ():
            usable = np.isfinite(x)
            if sampling is not None:
                usable = np.all(usable.reshape(len(x), self.n, sampling.span), axis=2)
            finite = finite if usable.all() else finite & usable
        inputs += [self._spread(r) for r in task.roles if r.kind == "response"]
        admitted = np.ones((1, 1), dtype=bool)
        if Role("where") in self.given:
            admitted = self._sampled(Role("where"), dtype=bool)
        found: list[np.ndarray | None] = []
        for role in (Role("weights"), Role("weights_above")):
            if role not in self.given:
                found.append(None)
                continue
            weights, known, usable = self._weights(role)
            finite, admitted = finite & known, admitted & usable
            found.append(weights)
        if found[0] is None and task.scalar_weight is not None:
            found[0] = np.full((1, self.n), task.scalar_weight)
        off = None
        if Role("coord_sigma") in self.given:
            off = self._sampled(Role("coord_sigma"))
            finite, admitted = finite & np.isfinite(off), admitted & ~(off < 0.0)
        covariance = None
        if Role("noise") in self.given:
            covariance = self._sampled(Role("noise")).reshape(-1, self.n, self.n)
            finite = finite & np.isfinite(np.einsum("bnn->bn", covariance))
        valid = finite if admitted.all() else finite & admitted
        samples = Samples(y, inputs, found[0], valid, whole, sampling, off=off, covariance=covariance)
        return with_sides(samples, found[1], self._limits), finite, np.broadcast_to(admitted, y.shape)

    def _weights(self, role: Role) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights (b, n) or (1, n), whether what was given is finite, and whether it can be used."""
        given = weights = self._sampled(role)
        with np.errstate(all="ignore"):
            positive = given > 0
            if self.task.sigma:
                weights = 1.0 / given
        return weights, np.isfinite(given), positive & (np.isfinite(weights) | ~positive)

    @property
    def _limits(self) -> np.ndarray | None:
        """Which samples are upper limits, (b, n) or (1, n); None where none is."""
        return self._sampled(Role("limit"), dtype=bool) if Role("limit") in self.given else None

    @property
    def places(self) -> list[np.ndarray]:
        """The coordinates of the samples, (b, n) or (1, n) each, where the inputs are those of nodes."""
        return [self._sampled(role) for role in self.task.roles if role.kind == "place"]

    def starts_and_bounds(self, number: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Starts, the first of several or that of a ``number``, lower and upper bounds.

        (b, K) each, or (1, K) where no fit has its own.
        """
        problem = self.task.problem
        out = []
        for kind, scalar in (("start", problem.start), ("lower", problem.lower), ("upper", problem.upper)):
            maps = {
                int(role.name): array[..., number] if role in self.task.several else array
                for role, array in self.given.items()
                if role.kind == kind
            }
            table = np.tile(scalar, (self.b if maps else 1, 1))
            for j, array in maps.items():
                with np.errstate(all="ignore"):
                    values = np.broadcast_to(np.asarray(array, dtype=float), self.shape).reshape(self.b)
                if kind != "start":  # a NaN bound is no bound
                    values = np.where(np.isnan(values), -np.inf if kind == "lower" else np.inf, values)
                table[:, j] = values
            out.append(table)
        starts, lower, upper = out
        held = (lower == upper) & ~problem.fixed & ~problem.tied
        return (np.where(held, lower, starts) if held.any() else starts), lower, upper

    def priors(self, free: np.ndarray) -> tuple[Priors | None, np.ndarray]:
        """Priors of parameters that are ``free`` (1 or b, K), None where the call has none; and which fits have
        one that is none, (b,): a mean that is infinite, or a deviation that is not positive. NaN is no prior.
        """
        given = [(role, array) for role, array in self.given.items() if role.kind in PRIORS]
        if not given:
            return None, np.zeros(self.b, dtype=bool)
        tables = {kind: np.full((self.b, free.shape[1]), np.nan) for kind in PRIORS}
        for role, array in given:
            with np.errstate(all="ignore"):
                values = np.broadcast_to(np.asarray(array, dtype=float), self.shape).reshape(self.b)
            tables[role.kind][:, int(role.name)] = values
        mean, deviation = (tables[kind] for kind in PRIORS)
        known = free & ~np.isnan(mean) & ~np.isnan(deviation)
        wrong = np.any(known & (np.isinf(mean) | (deviation <= 0.0)), axis=1)
        return Priors.of(mean, deviation, ~free), wrong

    @cached_property
    def positions(self) -> dict[str, np.ndarray]:
        """Index of each fit along each remaining dim, shape (b,); nothing unless they were passed."""
        return {
            str(role.name): np.broadcast_to(array, self.shape).reshape(self.b)
            for role, array in self.given.items()
            if role.kind == "position"
        }

    def position(self, i: int) -> str:
        """Position of fit ``i`` in words."""
        return ", ".join(f"{dim}={at[i]}" for dim, at in self.positions.items())

    def _spread(self, role: Role) -> np.ndarray:
        """Coordinates of samples, or of nodes, or weights of these, in rows as `_sampled` has them."""
        given, spread = self._sampled(role), self.task.spreads.get(role)
        return given if spread is None else spread.over(given)

    def _sampled(self, role: Role, *, every: bool = False, dtype: type = float) -> np.ndarray:
        """An array of samples as (b, n), or (1, n) where it does not vary; native and contiguous. So are nodes."""
        array, core = self.given[role], self.task.n_core(role)
        lead, own = array.shape[: array.ndim - core], array.shape[array.ndim - core :]
        rows = self.shape if every or int(np.prod(lead)) > 1 else (1,) * len(lead)
        full = np.broadcast_to(array, (*rows, *own))
        if self.task.problem.traits.linear and _samples_first(full, len(rows)):
            turned = np.moveaxis(full, range(len(rows)), range(-len(rows), 0))
            with np.errstate(all="ignore"):
                return np.ascontiguousarray(turned, dtype=dtype).reshape(math.prod(own), math.prod(rows)).T
        with np.errstate(all="ignore"):  # a wider float beyond the range of ours is infinite, and left out
            return np.ascontiguousarray(full, dtype=dtype).reshape(math.prod(rows), math.prod(own))


def part_of(array: np.ndarray, at: Sequence[slice], n_core: int) -> np.ndarray:
    """The part of an array at some positions; axes that it lacks, or has with size 1, are the same at all of them."""
    lead = array.shape[: array.ndim - n_core]
    cuts = at[len(at) - len(lead) :]
    return array[tuple(cut if size > 1 else slice(None) for cut, size in zip(cuts, lead, strict=True))]


def _samples_first(array: np.ndarray, lead: int) -> bool:
    """Whether fits lie closer together in memory than the samples of one; ``lead`` axes are those of fits."""
    steps = [abs(s) if n > 1 else 0 for s, n in zip(array.strides, array.shape, strict=True)]
    fits, samples = ([s for s in part if s] for part in (steps[:lead], steps[lead:]))
    return bool(fits) and bool(samples) and min(fits) < min(samples)


def _cuts(shape: tuple[int, ...], most: int) -> Iterator[tuple[slice, ...]]:
    """Slices along all axes, of no more than ``most`` elements each, and about as many in each."""
    if not shape:
        yield ()
        return
    allowed = max(1, most // max(1, math.prod(shape[1:])))
    step = math.ceil(shape[0] / math.ceil(shape[0] / allowed)) if shape[0] else 1
    for start in range(0, shape[0], step):
        for rest in _cuts(shape[1:], most):
            yield (slice(start, min(start + step, shape[0])), *rest)
