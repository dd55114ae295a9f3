"""Image HDUs: which ones to read, what each one is, and what it is called.

Which extension holds errors or flags is told by ``HDUCLAS*`` keywords, by ``UTYPE`` as CCDData
writes it, or by EXTNAME, alone (``ERR``) or after the name of the data (``FLUX_ERR``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from numbers import Integral
from typing import Any

from astropy.io import fits

from xr_modelfit.fits_io.headers import card_text
from xr_modelfit.fits_io.world_axes import identifier, unique
from xr_modelfit.messages import suggestion

__all__ = [
    "Image", "Role", "image_of", "index_of", "is_image", "keys_of", "named_images", "selected_images", "shown_hdu",
    "table_of",
]  # fmt: skip


class Role(Enum):
    """What the numbers of an image are to the data."""

    DATA = "data"
    SIGMA = "standard deviation"
    VARIANCE = "variance"
    INVERSE_VARIANCE = "inverse variance"
    FLAGS = "flags, 0 where good"
    GOOD = "flags, 0 where bad"
    LOGARITHM = "decimal logarithm of a coordinate"

    @property
    def suffix(self) -> str:
        """What is put after the name of the data."""
        return "" if self in (Role.DATA, Role.LOGARITHM) else "_good" if self in (Role.FLAGS, Role.GOOD) else "_sigma"


_NAMES = {
    Role.SIGMA: ("ERR", "ERROR", "ERRORS", "STDDEV", "STD", "SIGMA", "UNCERT", "UNCERTAINTY", "NOISE", "RMS"),
    Role.VARIANCE: ("STAT", "VAR", "VARIANCE"),
    Role.INVERSE_VARIANCE: ("IVAR", "INVVAR"),
    Role.FLAGS: ("DQ", "MASK", "FLAGS", "FLAG", "QUALITY", "BADPIX", "QUAL"),
    Role.GOOD: ("GOOD",),
}
_BY_NAME = {name: role for role, names in _NAMES.items() for name in names}
_BY_CLASS = {"MSE": Role.VARIANCE, "RMSE": Role.SIGMA, "INVMSE": Role.INVERSE_VARIANCE, "MASKONE": Role.GOOD}
_BY_UTYPE = {
    **dict.fromkeys(("STD", "STDDEVUNCERTAINTY"), Role.SIGMA),
    **dict.fromkeys(("VAR", "VARIANCEUNCERTAINTY"), Role.VARIANCE),
    **dict.fromkeys(("IVAR", "INVERSEVARIANCE"), Role.INVERSE_VARIANCE),
}


@dataclass(frozen=True)
class Image:
    """An image HDU, as its header tells."""

    index: int  # its number in the file
    hdu: Any
    role: Role
    parent: str | None  # upper-case name of the data that it belongs to, where it says so
    ignored: int = 0  # of flags: those that leave the data usable

    @property
    def header(self) -> fits.Header:
        return self.hdu.header

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.hdu.shape)

    @property
    def extname(self) -> str:
        """EXTNAME in capitals; empty where there is none that says anything."""
        name = card_text(self.header, "EXTNAME").upper()
        return "" if name in ("PRIMARY", "COMPRESSED_IMAGE") else name

    @property
    def extver(self) -> int:
        return int(self.header.get("EXTVER", 1))

    @property
    def shown(self) -> str:
        return shown_hdu(self.index, self.extname)


def shown_hdu(index: int, name: str) -> str:
    """An HDU in a message."""
    return f"HDU {index}" + (f" ({name!r})" if name else "")


def image_of(index: int, hdu: Any) -> Image:
    """What an image HDU is."""
    name, kind, detail, utype, of_data = (
        card_text(hdu.header, key).upper() for key in ("EXTNAME", "HDUCLAS2", "HDUCLAS3", "UTYPE", "SCIDATA")
    )
    parent, _, last = name.rpartition("_")
    if kind == "ERROR":
        role = _BY_CLASS.get(detail, Role.SIGMA)
    elif kind == "QUALITY":
        role = _BY_CLASS.get(detail, Role.FLAGS)
    elif kind != "DATA" and last in _BY_NAME:
        role = _BY_NAME[last]
    else:
        return Image(index, hdu, Role.DATA, None)
    return Image(index, hdu, _BY_UTYPE.get(utype, role), of_data or (parent if last in _BY_NAME else "") or None)


def is_image(hdu: Any) -> bool:
    """Whether an HDU holds an image that is not empty."""
    kinds = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)
    return isinstance(hdu, kinds) and not isinstance(hdu, fits.GroupsHDU) and bool(hdu.shape) and 0 not in hdu.shape


def table_of(hdus: fits.HDUList) -> str:
    """The HDUs of a file for a message: number, name, kind and shape."""
    rows = []
    for i, hdu in enumerate(hdus):
        name = card_text(hdu.header, "EXTNAME")
        what = f"image {tuple(hdu.shape)}" if is_image(hdu) else type(hdu).__name__
        rows.append(f"{i}{f' {name!r}' if name else ''}: {what}")
    return "; ".join(rows)


def keys_of(asked: Any) -> list[Any]:
    """The HDUs that ``hdu`` names: numbers, EXTNAMEs, or pairs of EXTNAME and EXTVER."""
    one = isinstance(asked, Integral | str) or (isinstance(asked, tuple) and [type(v) for v in asked] == [str, int])
    return [asked] if one else list(asked)


def index_of(hdus: fits.HDUList, key: Any) -> int | None:
    """The number of an HDU; None where there is no such one."""
    try:
        index = hdus.index_of(key)
        hdus[index]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return int(index) % len(hdus)


def selected_images(hdus: fits.HDUList, asked: Any) -> list[Image]:
    """The images to read. Errors and flags without their data are data themselves."""
    if asked is None:
        images = [image_of(i, hdu) for i, hdu in enumerate(hdus) if is_image(hdu)]
        if not images:
            raise ValueError(
                f"There is no image in the file, only {table_of(hdus)}. Pass a file with an image, or with a table of "
                "spectra; other tables are read by astropy.table.Table.read."
            )
    else:
        images = [_image(hdus, key) for key in keys_of(asked)]
        if not images or len({image.index for image in images}) < len(images):
            raise ValueError(f"hdu is {asked!r}; name at least one HDU, and each once. The file has {table_of(hdus)}.")
    if any(image.role is Role.DATA for image in images):
        return images
    return [replace(image, role=Role.DATA, parent=None) for image in images]


def _image(hdus: fits.HDUList, key: Any) -> Image:
    index = index_of(hdus, key)
    if index is None:
        known = [str(one.header["EXTNAME"]) for one in hdus if "EXTNAME" in one.header]
        raise KeyError(
            f"hdu is {key!r}, and there is no such HDU.{suggestion(str(key).upper(), known)} The file has "
            f"{table_of(hdus)}."
        )
    if not is_image(hdus[index]):
        raise ValueError(f"hdu is {key!r}, which is no image. The file has {table_of(hdus)}.")
    return image_of(index, hdus[index])


def named_images(images: list[Image]) -> dict[str, tuple[Image, Image | None]]:
    """Names of the variables, each with its image and, of errors and flags, the image that they belong to."""
    data: dict[str, Image] = {}
    for image in images:
        if image.role is Role.DATA:
            name = identifier(image.extname) or identifier(card_text(image.header, "BTYPE")) or "data"
            data[unique(name if name not in data else f"{name}_{image.extver}", data)] = image
    named: dict[str, tuple[Image, Image | None]] = {}
    for image in images:
        if image.role is Role.DATA:
            named[next(name for name, one in data.items() if one is image)] = (image, None)
            continue
        owner = _owner(image, data)
        name = f"{owner}{image.role.suffix}"
        if name not in named and name not in data:
            named[name] = (image, data[owner])
        else:  # a second kind of error is kept as it is
            other = unique(identifier(image.extname) or name, [*data, *named])
            named[other] = (replace(image, role=Role.DATA), None)
    return named


def _owner(image: Image, data: Mapping[str, Image]) -> str:
    """Name of the data that errors or flags belong to: the one they name, else the last one before them."""
    like = {n: one for n, one in data.items() if one.extname == image.parent} or dict(data)
    like = {n: one for n, one in like.items() if one.extver == image.extver} or like
    before = [n for n, one in like.items() if one.index < image.index]
    return before[-1] if before else next(iter(like))
