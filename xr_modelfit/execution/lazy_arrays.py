"""Arrays that are read or computed when they are first used, and then kept."""

from typing import Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

__all__ = ["LazyArray", "kept"]


class LazyArray(indexing.LazilyIndexedArray):
    """xarray's lazy array, which stays one when it is transposed.

    xarray's own turns to indexing element by element, which copies, and fails at single elements.
    """

    def transpose(self, order: Any) -> Any:
        return kept(_Permuted(self, tuple(order)))


def kept(array: BackendArray) -> Any:
    """A lazy array as `xarray.open_dataset` has it: read once, and what the user assigns stays here."""
    lazy: Any = LazyArray(array)
    return indexing.MemoryCachedArray(indexing.CopyOnWriteArray(lazy))


class _Permuted(BackendArray):
    """A lazy array with its axes in another order."""

    def __init__(self, inner: LazyArray, order: tuple[int, ...]) -> None:
        self.inner = inner
        self.order = order
        self.shape = tuple(inner.shape[k] for k in order)
        self.dtype = inner.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        original = tuple(part for _, part in sorted(zip(self.order, key, strict=True), key=lambda pair: pair[0]))
        part = self.inner.oindex[indexing.OuterIndexer(original)].get_duck_array()
        left = [k for k, one in zip(self.order, key, strict=True) if not isinstance(one, int | np.integer)]
        return np.transpose(part, [sorted(left).index(k) for k in left])
