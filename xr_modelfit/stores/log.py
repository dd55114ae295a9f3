"""What a store says of the fit that is being written into it: of which fit it is, and what is done."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from xr_modelfit.messages import listed
from xr_modelfit.stores.tiles import Tiling
from xr_modelfit.stores.writer import find_writer, writing

__all__ = ["StoreError", "StoreLog"]

_GROUP = "_modelfit"  # beside the variables, where opening the store does not see it
_WAIT = "Wait until it has ended, then repeat the call with resume=True; or fit into another store."


class StoreError(RuntimeError):
    """A store does not hold what a fit was to go on from."""


@dataclass(frozen=True)
class StoreLog:
    """The group that says which tiles are done, and of what fit."""

    store: Any
    storage_options: Mapping[str, Any] | None = None
    zarr_format: Any = None

    def _open(self, mode: Any) -> Any:
        import zarr

        options = None if self.storage_options is None else dict(self.storage_options)
        return zarr.open_group(
            self.store, mode=mode, storage_options=options, zarr_format=self.zarr_format, use_consolidated=False
        )

    def ready(self) -> bool:
        """Whether an earlier run came as far as the first tile."""
        try:
            return _GROUP in self._open("r") and bool(self._open("r")[_GROUP].attrs.get("ready"))
        except (FileNotFoundError, KeyError, ValueError):
            return False

    def begin(self, exists_ok: bool) -> None:
        """An empty store.

        Raises
        ------
        FileExistsError
            There is something already.
        """
        try:
            group = self._open("r")
            with warnings.catch_warnings():  # a folder that a full disk left empty
                warnings.simplefilter("ignore")
                there = [*group.array_keys(), *group.group_keys()]
        except (FileNotFoundError, KeyError, ValueError):
            there = []
        ours = _GROUP in there
        if there and not (ours and (exists_ok or not self.ready())):  # nothing is lost with one that never got ready
            raise FileExistsError(
                f"The store {self.store!r} holds {listed(sorted(there))} already. Remove it, name another one, or go "
                "on with an interrupted fit: resume=True."
            )
        self.require_no_writer()
        root = self._open("w" if ours else "a")
        root.create_group(_GROUP)

    def start(self, parts: Mapping[str, str], tilings: list[Tiling]) -> None:
        """Nothing is done yet."""
        log = self._open("r+")[_GROUP]
        for j, tiling in enumerate(tilings):
            log.create_array(f"read_{j}", shape=(max(len(tiling), 1),), chunks=(1,), dtype="u8", fill_value=0)
        steps = [[[str(d), n, t.steps[d]] for d, n in t.sizes.items()] for t in tilings]
        log.attrs.update({"fit": dict(parts), "tiles": steps, "ready": True})

    def go_on(self, parts: Mapping[str, str], tilings: list[Tiling]) -> list[Tiling]:
        """The tiles of the earlier run.

        Raises
        ------
        StoreError
            It was another fit, or another process writes it.
        """
        self.require_no_writer()
        attrs = dict(self._open("r")[_GROUP].attrs)
        changed = [name for name, digest in parts.items() if attrs["fit"].get(name) != digest]
        if changed:
            raise StoreError(
                f"The store {self.store!r} was begun by another fit: {listed(changed)} changed since. Repeat the call "
                "that began it, or fit into another store."
            )
        found = []
        for tiling, noted in zip(tilings, attrs["tiles"], strict=True):
            found.append(Tiling(tiling.sizes, {d: step for d, (_, _, step) in zip(tiling.sizes, noted, strict=True)}))
        return found

    def read(self, j: int) -> np.ndarray:
        """Digests of what the tiles of job ``j`` read; 0 for one not written, or whose mark a full disk cut off."""
        marks = self._open("r")[_GROUP][f"read_{j}"]
        try:
            return np.asarray(marks[:])
        except Exception:
            return np.array([_legible(marks, i) for i in range(marks.shape[0])], dtype=np.uint64)

    def mark(self, j: int, i: int, read: int) -> None:
        """Tile ``i`` is written, of samples with this digest."""
        self._open("r+")[_GROUP][f"read_{j}"][i] = read

    @contextmanager
    def writing(self) -> Iterator[Callable[[], None]]:
        """Inside, no other process writes; gives a function that makes sure of it.

        Raises
        ------
        StoreError
            Another one does.
        """

        def opened(mode: Any) -> Any:
            return self._open(mode)[_GROUP]

        with writing(opened) as is_ours:

            def require() -> None:
                if not is_ours():
                    raise StoreError(f"The store {self.store!r} was taken over by another process. {_WAIT}")

            require()
            yield require

    def require_no_writer(self) -> None:
        """Refuse a store that another process writes.

        Raises
        ------
        StoreError
        """
        try:
            found = find_writer(self._open("r")[_GROUP])
        except (FileNotFoundError, KeyError, ValueError):
            return
        if found is not None:
            raise StoreError(f"The store {self.store!r} is being written by {found}. {_WAIT}")


def _legible(marks: Any, i: int) -> int:
    try:
        return int(marks[i])
    except Exception:
        return 0
