"""Numbers of image HDUs, read lazily."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from xarray.backends import BackendArray
from xarray.core import indexing

from xr_modelfit.fits_io.hdus import Image, Role

__all__ = ["Scale", "StoredArray", "image_numbers", "is_plain", "transformed", "transformed_dtype"]


@dataclass(frozen=True)
class Scale:
    """How stored numbers become physical ones: BSCALE, BZERO, BLANK."""

    scale: float
    zero: float
    blank: int | None
    stored: np.dtype[Any]
    narrow: bool = True  # images of small integers become float32, columns float64

    @classmethod
    def of(cls, header: fits.Header) -> "Scale":
        bits = int(header["BITPIX"])
        stored = np.dtype({8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}[bits])
        blank = header.get("BLANK") if bits > 0 else None
        scale, zero = float(header.get("BSCALE", 1)), header.get("BZERO", 0)
        return cls(scale, zero, None if blank is None else int(blank), stored)

    @property
    def trivial(self) -> bool:
        return self.scale == 1 and self.zero == 0 and self.blank is None

    @property
    def whole(self) -> np.dtype[Any] | None:
        """The integer type that FITS stores with an offset: unsigned, or one signed byte."""
        size = self.stored.itemsize
        if self.stored.kind == "f" or self.scale != 1 or self.blank is not None:
            return None
        if size == 1:
            return np.dtype("i1") if self.zero == -128 else None
        return np.dtype(f"u{size}") if self.zero == 2 ** (8 * size - 1) else None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the physical numbers, as in astropy."""
        if self.trivial:
            return self.stored
        if self.whole is not None:
            return self.whole
        if self.stored.kind == "f":
            return self.stored.newbyteorder("=")
        return np.dtype("f4" if self.narrow and self.stored.itemsize <= 2 else "f8")

    def apply(self, raw: np.ndarray) -> np.ndarray:
        if self.trivial:
            return raw
        if self.whole is not None:  # adding the offset flips the highest bit
            top = self.whole.type if self.whole.kind == "u" else np.uint8
            bits = raw.astype(raw.dtype.newbyteorder("=")).view(top) ^ top(2 ** (8 * raw.itemsize - 1))
            return np.asarray(bits).view(self.whole)
        values = raw.astype(self.dtype)
        values *= self.scale
        values += self.zero
        if self.blank is not None:
            values[raw == self.blank] = np.nan
        return values


def transformed(values: Any, role: Role, ignored: int = 0) -> Any:
    """Standard deviations instead of variances, True where good instead of flags; ``ignored`` ones do not count."""
    if role in (Role.DATA, Role.SIGMA):
        return values
    if role is Role.FLAGS:
        return values == 0 if not ignored else values & ~np.uint64(ignored).astype(values.dtype) == 0
    if role is Role.GOOD:
        return values != 0
    if role is Role.LOGARITHM:
        return 10.0 ** np.asarray(values, dtype=float)
    if role is Role.INVERSE_VARIANCE:
        usable = values > 0  # no weight: the error is unknown
        values = 1 / np.where(usable, values, np.nan)
    with np.errstate(invalid="ignore"):
        return np.sqrt(values)


def transformed_dtype(dtype: np.dtype[Any], role: Role) -> np.dtype[Any]:
    if role in (Role.DATA, Role.SIGMA):
        return dtype
    return np.asarray(transformed(np.ones(1, dtype), role)).dtype


def is_plain(path: str) -> bool:
    """Whether a file is uncompressed FITS."""
    with open(path, "rb") as file:
        return file.read(6) == b"SIMPLE"


class StoredArray(BackendArray):
    """Numbers of an HDU. The file is opened for each read, so that pickling sends the path only."""

    def __init__(
        self, path: str, index: int, role: Role, ignored: int, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        status = os.stat(path)
        self.age = (status.st_mtime_ns, status.st_size)  # dask's token changes with the file
        self.path, self.index, self.role, self.ignored = path, index, role, ignored
        self.shape, self.dtype = shape, dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        return np.asarray(transformed(self._physical(key), self.role, self.ignored), dtype=self.dtype)

    def _physical(self, key: tuple[Any, ...]) -> Any:
        raise NotImplementedError


class _FileArray(StoredArray):
    """The numbers of an image HDU of a file.

    Of a plain file the numbers are mapped into memory, not copied. Of a compressed image, the tiles that are asked for
    are read; of a compressed file, all of it. ``dtype`` is that of the file where none is given.
    """

    def __init__(self, path: str, image: Image, dtype: np.dtype[Any] | None = None) -> None:
        plain = is_plain(path) and not isinstance(image.hdu, fits.CompImageHDU)
        self.offset = int(image.hdu.fileinfo()["datLoc"]) if plain else None
        self.scale = Scale.of(image.header)
        if dtype is None:
            own = transformed_dtype(self.scale.dtype, image.role)
            dtype = own if plain else own.newbyteorder("=")
        super().__init__(path, image.index, image.role, image.ignored, image.shape, dtype)

    def _physical(self, key: tuple[Any, ...]) -> Any:
        if self.offset is not None:
            # copy-on-write: the user may assign, the file stays as it is
            raw = np.memmap(self.path, self.scale.stored, "c", self.offset, self.shape).view(np.ndarray)[key]
        else:
            with fits.open(self.path, memmap=False, do_not_scale_image_data=True) as hdus:
                hdu = hdus[self.index]
                raw = hdu.section[key] if isinstance(hdu, fits.CompImageHDU) else hdu.data[key]
        return self.scale.apply(np.asarray(raw))


def image_numbers(path: str | None, image: Image, dtype: np.dtype[Any] | None = None) -> Any:
    """The numbers of an HDU: lazily from a file, or without a path from what astropy has opened."""
    if path is not None:
        return _FileArray(path, image, dtype)
    blank = image.header.get("BLANK")
    scaled = any(key in image.header for key in ("BSCALE", "BZERO"))
    values = image.hdu.data
    if values.dtype.kind in "iu" and blank is not None and not scaled:
        values = np.where(values == blank, np.nan, values)
    values = transformed(values, image.role, image.ignored)
    return values if dtype is None else np.asarray(values, dtype=dtype)
