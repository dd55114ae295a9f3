"""Tiles: parts of the positions of a large fit, which are done one after the other.

All tiles have the same size, except the last along each dim, so that each is whole chunks of the store.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Tiling"]


@dataclass(frozen=True)
class Tiling:
    """Positions along each remaining dim, of all tiles and of one."""

    sizes: dict[Hashable, int]
    steps: dict[Hashable, int]

    @classmethod
    def of(cls, sizes: Mapping[Hashable, int], chunks: Mapping[Hashable, Sequence[int]], most: int) -> Tiling:
        """Tiles of at most ``most`` fits: chunks of the source, cut along the first dims or joined along the last."""
        steps = {d: max(max(chunks.get(d, (n,)), default=1), 1) for d, n in sizes.items()}
        most = max(most, 1)
        for dim in sizes:
            others = math.prod(steps.values()) // steps[dim]
            if others * steps[dim] > most:
                n = math.ceil(steps[dim] / max(1, most // others))
                steps[dim] = math.ceil(steps[dim] / n)
        for dim in reversed(list(sizes)):
            others = math.prod(steps.values()) // steps[dim]
            times = max(1, most // (others * steps[dim]))
            steps[dim] = min(max(sizes[dim], 1), times * steps[dim])
        return cls(dict(sizes), steps)

    def __len__(self) -> int:
        return math.prod(math.ceil(n / self.steps[d]) for d, n in self.sizes.items())

    def __getitem__(self, i: int) -> dict[Hashable, slice]:
        """Positions of tile ``i``."""
        tile: dict[Hashable, slice] = {}
        for dim, n in reversed(self.sizes.items()):
            step = self.steps[dim]
            i, at = divmod(i, math.ceil(n / step))
            tile[dim] = slice(at * step, min((at + 1) * step, n))
        return dict(reversed(tile.items()))

    def runs(self, tiles: Sequence[int], most: int) -> Iterator[tuple[list[int], dict[Hashable, slice]]]:
        """Runs of neighbouring tiles that make up one box of at most ``most`` fits (or one tile), with the box."""
        run: list[int] = []
        box: dict[Hashable, slice] = {}
        for i in tiles:
            joined = _joined(box, self[i]) if run and i == run[-1] + 1 else None
            if joined is not None and _size(joined) <= most:
                run, box = [*run, i], joined
                continue
            if run:
                yield run, box
            run, box = [i], self[i]
        if run:
            yield run, box

    @property
    def n_fits(self) -> int:
        """Positions in all."""
        return math.prod(self.sizes.values())

    @property
    def largest(self) -> int:
        """Positions of the largest tile."""
        return math.prod(min(self.steps[d], n) for d, n in self.sizes.items())

    def fits(self, i: int) -> int:
        """Positions of tile ``i``."""
        return _size(self[i])

    def readings(self, chunks: Mapping[Hashable, Sequence[int]]) -> float:
        """How often a sample of the source is read, on average: once for each tile that its chunk overlaps."""
        found = 1.0
        for dim, n in self.sizes.items():
            edges = list(itertools.accumulate(chunks.get(dim, (n,)), initial=0))
            touched = [
                ((stop - 1) // self.steps[dim] - start // self.steps[dim] + 1) * (stop - start)
                for start, stop in itertools.pairwise(edges)
                if stop > start
            ]
            found *= sum(touched) / n if touched else 1.0
        return found


def _size(box: Mapping[Hashable, slice]) -> int:
    return math.prod(s.stop - s.start for s in box.values())


def _joined(box: Mapping[Hashable, slice], tile: Mapping[Hashable, slice]) -> dict[Hashable, slice] | None:
    """A box and the tile that continues it along one dim, as one box; None where the tile does not."""
    others = [d for d in box if box[d] != tile[d]]
    if len(others) != 1 or box[others[0]].stop != tile[others[0]].start:
        return None
    return dict(box) | {others[0]: slice(box[others[0]].start, tile[others[0]].stop)}
