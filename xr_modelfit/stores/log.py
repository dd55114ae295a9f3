"""The log of a store: which fit it belongs to, and which tiles are done."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from xr_modelfit.messages import listed
from xr_modelfit.stores.tiles import Tiling
from xr_modelfit.stores.writer import find_writer, writing

__all__ = ["StoreError", "StoreLog"]

_GROUP = "_modelfit"  # beside the variables, where opening the store does not see it
_MISSING = (FileNotFoundError, KeyError, ValueError)  # what zarr raises where there is no group
_WAIT = "Wait until it has ended, then repeat the call with resume=True; or fit into another store."


class StoreError(RuntimeError):
    """A store cannot be resumed by this fit."""


@dataclass(frozen=True)
class StoreLog:
    """The group that notes the fit and its finished tiles."""

    store: Any
    storage_options: Mapping[str, Any] | None = None
    zarr_format: Any = None

    def _root(self, mode: Any) -> Any:
        import zarr

        options = None if self.storage_options is None else dict(self.storage_options)
        return zarr.open_group(
            self.store, mode=mode, storage_options=options, zarr_format=self.zarr_format, use_consolidated=False
        )

    def _group(self, mode: Any) -> Any:
        return self._root(mode)[_GROUP]

    def ready(self) -> bool:
        """Whether an earlier run came as far as the first tile."""
        try:
            return bool(self._group("r").attrs.get("ready"))
        except _MISSING:
            return False

    def begin(self, exists_ok: bool) -> None:
        """Make an empty store; raises FileExistsError where there is something already."""
        try:
            group = self._root("r")
            with warnings.catch_warnings():  # a folder that a full disk left empty
                warnings.simplefilter("ignore")
                there = [*group.array_keys(), *group.group_keys()]
        except _MISSING:
            there = []
        ours = _GROUP in there
        if there and not (ours and (exists_ok or not self.ready())):  # a store that never got ready holds no fits
            raise FileExistsError(
                f"The store {self.store!r} holds {listed(sorted(there))} already. Remove it, name another one, or go "
                "on with an interrupted fit: resume=True."
            )
        self.require_no_writer()
        self._root("w" if ours else "a").create_group(_GROUP)

    def start(self, parts: Mapping[str, str], tilings: list[Tiling]) -> None:
        """Note the fit and its tiles, none of which is done."""
        log = self._group("r+")
        for j, tiling in enumerate(tilings):
            log.create_array(f"read_{j}", shape=(max(len(tiling), 1),), chunks=(1,), dtype="u8", fill_value=0)
        steps = [[[str(d), n, t.steps[d]] for d, n in t.sizes.items()] for t in tilings]
        log.attrs.update({"fit": dict(parts), "tiles": steps, "ready": True})

    def go_on(self, parts: Mapping[str, str], tilings: list[Tiling]) -> list[Tiling]:
        """The tiles of the earlier run; raises StoreError if it was another fit, or another process writes it."""
        self.require_no_writer()
        attrs = dict(self._group("r").attrs)
        changed = [name for name, digest in parts.items() if attrs["fit"].get(name) != digest]
        if changed:
            raise StoreError(
                f"The store {self.store!r} was begun by another fit: {listed(changed)} changed since. Repeat the call "
                "that began it, or fit into another store."
            )
        steps = [[step for _, _, step in noted] for noted in attrs["tiles"]]
        return [Tiling(t.sizes, dict(zip(t.sizes, s, strict=True))) for t, s in zip(tilings, steps, strict=True)]

    def read(self, j: int) -> np.ndarray:
        """Digests of what the tiles of job ``j`` read; 0 for one not written, or whose mark a full disk cut off."""
        marks = self._group("r")[f"read_{j}"]
        try:
            return np.asarray(marks[:])
        except Exception:
            return np.array([_legible(marks, i) for i in range(marks.shape[0])], dtype=np.uint64)

    def mark(self, j: int, i: int, read: int) -> None:
        """Note that tile ``i`` is written, of samples with this digest."""
        self._group("r+")[f"read_{j}"][i] = read

    def writing(self) -> AbstractContextManager[Callable[[], None]]:
        """Inside, no other process writes; gives a function that raises StoreError where one does."""
        return writing(self._group, StoreError(f"The store {self.store!r} was taken over by another process. {_WAIT}"))

    def require_no_writer(self) -> None:
        """Raise StoreError for a store that another process writes."""
        try:
            found = find_writer(self._group("r"))
        except _MISSING:
            return
        if found is not None:
            raise StoreError(f"The store {self.store!r} is being written by {found}. {_WAIT}")


def _legible(marks: Any, i: int) -> int:
    try:
        return int(marks[i])
    except Exception:
        return 0
