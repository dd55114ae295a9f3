"""Tables that hold spectra: which columns are the coordinate, the data, errors and flags.

The user says it, or else ``TUTYP``, ``TUCD`` or the names do; nothing is read but headers. The columns of a
spectrum have one shape: a value for each row, or a vector in each row.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from astropy.io import fits

from xr_modelfit.fits_io.column_names import COORDINATES, FLUXES, LOGARITHMS, ROLE_WORDS, by_utype
from xr_modelfit.fits_io.hdus import Role, index_of, is_image, keys_of, shown_hdu, table_of
from xr_modelfit.fits_io.headers import card_text
from xr_modelfit.fits_io.table_columns import Column, columns_of
from xr_modelfit.messages import a, listed, suggestion

__all__ = ["SpectrumTable", "selected_table"]

_KEYS = ("data", "coordinate", "log10_coordinate", "sigma", "variance", "ivar", "flags", "good")
_KEY_ROLES = {
    "sigma": Role.SIGMA,
    "variance": Role.VARIANCE,
    "ivar": Role.INVERSE_VARIANCE,
    "flags": Role.FLAGS,
    "good": Role.GOOD,
}
_MakeFault = Callable[..., ValueError]


@dataclass(frozen=True)
class SpectrumTable:
    """A table, and what its columns are."""

    index: int  # number of the HDU in its file
    hdu: Any
    coordinate: Column | None  # None: pixel numbers, at the user's request
    quantity: str  # what the coordinate is called
    logarithmic: bool  # the coordinate holds decimal logarithms
    data: tuple[Column, ...]  # the main one first
    ancillary: Sequence[tuple[Column, Role, Column]]  # a column, its role, and the data column that it belongs to
    others: tuple[Column, ...]  # one value for each row of vectors, and text
    flags: tuple[Column, ...]  # data that are a second kind of flags

    @property
    def shown(self) -> str:
        return shown_hdu(self.index, card_text(self.hdu.header, "EXTNAME"))

    @property
    def rows(self) -> int:
        return int(self.hdu.header["NAXIS2"])


def selected_table(source: Any, asked: Any, names: Any) -> SpectrumTable | None:
    """The table to read; None where images are to be read.

    Without ``hdu``, a table is read only of files without an image. Raises ValueError or TypeError if a table is asked
    for whose columns are not understood, or there is more than one.
    """
    if _is_table(source):
        return _classified(0, source, names)
    if not isinstance(source, fits.HDUList):
        return None
    tables = {i: hdu for i, hdu in enumerate(source) if _is_table(hdu)}
    if asked is not None:
        keys = keys_of(asked)
        picked = [i for key in keys if (i := index_of(source, key)) in tables]
        if picked and len(keys) > 1:
            raise ValueError(
                f"hdu is {asked!r}; name one table, and nothing beside it. The file has {table_of(source)}."
            )
        return _classified(picked[0], tables[picked[0]], names) if picked else None
    if not tables or any(is_image(hdu) for hdu in source):
        return None
    if len(tables) == 1:
        return _classified(*next(iter(tables.items())), names)
    found, faults = [], []
    for i, hdu in tables.items():
        try:
            found.append(_classified(i, hdu, names))
        except ValueError as error:
            faults.append(str(error))
    if len(found) > 1:
        shown = ", ".join(one.shown for one in found)
        raise ValueError(f"Several tables hold spectra: {shown}. Say which to read, hdu={found[0].index}.")
    if not found:
        raise ValueError(f"No table of the file is told to be a spectrum. {' '.join(faults)}")
    return found[0]


def _is_table(hdu: Any) -> bool:
    return isinstance(hdu, fits.BinTableHDU) and not isinstance(hdu, fits.CompImageHDU)


def _classified(index: int, hdu: Any, names: Any) -> SpectrumTable:
    """What the columns of a table are."""
    columns = columns_of(hdu)
    named = _named_columns(names, columns)
    fault = partial(_fault, shown_hdu(index, card_text(hdu.header, "EXTNAME")), columns)
    if not hdu.header["NAXIS2"]:
        raise fault("it has no rows")
    coordinate, quantity, logarithmic = _coordinate(columns, named, fault)
    samples = _samples(columns, coordinate, named, fault)
    roles = {c.name: _role(c, samples) for c in samples}
    for key, role in [*_KEY_ROLES.items(), ("data", Role.DATA)]:
        roles |= {c.name: role for c in named.get(key, ())}
    given = named.get("data", ())
    plain = [c for c in samples if c.is_number and roles[c.name] is Role.DATA and c not in given]
    main = given or _main(plain, fault)
    data = (*main, *(c for c in plain if c not in main))
    ancillary: list[tuple[Column, Role, Column]] = []
    second = []  # a second kind of errors or flags is kept as it is
    # What is bad in all exposures goes before what is bad in one (SDSS).
    for c in sorted((c for c in samples if roles[c.name] is not Role.DATA), key=lambda c: c.key.startswith("OR_")):
        owner, role = _owner(c, data), roles[c.name]
        if any(role.suffix == other.suffix and owner == of for _, other, of in ancillary):
            second.append(c)
        else:
            ancillary.append((c, role, owner))
    data = (*data, *(c for c in second if c.is_number))
    flags = tuple(c for c in second if c.is_number and roles[c.name] is Role.FLAGS)
    used = [coordinate, *data, *second, *(c for c, _, _ in ancillary)]
    others = tuple(c for c in columns if c.kind and c.shape == () and c not in used)
    return SpectrumTable(index, hdu, coordinate, quantity, logarithmic, data, ancillary, others, flags)


def _fault(shown: str, columns: Sequence[Column], what: str, example: str = "") -> ValueError:
    """The error of a table whose columns are not understood."""
    found = ", ".join(c.shown for c in columns[:40]) + (", ..." if len(columns) > 40 else "")
    help_ = f" Name them: columns={example}, with any of {listed(_KEYS)}." if example else ""
    return ValueError(f"{shown} cannot be read as a spectrum: {what}. Its columns are {found}.{help_}")


def _named_columns(names: Any, columns: Sequence[Column]) -> dict[str, tuple[Column, ...]]:
    """The columns that the user names, by key; the coordinate may be None."""
    if names is None:
        return {}
    if not isinstance(names, Mapping):
        raise TypeError(f"columns is {a(names)}; pass {{what: name of a column}}, as {{'data': 'S', 'sigma': 'DS'}}.")
    named: dict[str, tuple[Column, ...]] = {}
    for key, value in names.items():
        if key not in _KEYS:
            raise ValueError(f"columns has the key {key!r}; keys are {listed(_KEYS)}.{suggestion(key, _KEYS)}")
        wanted = [] if value is None and key == "coordinate" else [value] if isinstance(value, str) else list(value)
        named[key] = tuple(_column_named(name, columns, key) for name in wanted)
    return named


def _column_named(name: Any, columns: Sequence[Column], key: str) -> Column:
    found = [c for c in columns if c.name.upper() == str(name).strip().upper()]
    if not found:
        known = [c.name for c in columns]
        raise ValueError(
            f"columns[{key!r}] is {name!r}, but the table has the columns {listed(known)}.{suggestion(name, known)}"
        )
    if not found[0].kind or found[0].kind == "A":
        raise ValueError(f"columns[{key!r}] is {name!r}, which cannot be read as numbers: {found[0].shown}.")
    return found[0]


def _coordinate(
    columns: Sequence[Column], named: Mapping[str, tuple[Column, ...]], fault: _MakeFault
) -> tuple[Column | None, str, bool]:
    """The coordinate, what it is called, and whether it holds logarithms."""
    for key in ("coordinate", "log10_coordinate"):
        if key in named:
            chosen = named[key][0] if named[key] else None
            quantity, logarithmic = _quantity(chosen) if chosen is not None else ("", False)
            return chosen, quantity, logarithmic or key.startswith("log10")
    known = [(c, *found) for c in columns if c.is_number and len(c.shape) < 2 and (found := _quantity(c))[0]]
    shared = [one for one in known if sum(c.shape == one[0].shape and c.is_number for c in columns) > 1]
    vectors = [one for one in shared if one[0].shape] or shared
    by_type = [one for one in vectors if by_utype(one[0].utype) == "coordinate"] or vectors
    plain = [one for one in by_type if not one[2]] or by_type  # prefer the wavelength to its logarithm
    if len(plain) == 1:
        return plain[0]
    example = "{'coordinate': ..., 'data': ...}"
    if not plain:
        raise fault("no column is known to be its coordinate, such as a wavelength", example)
    exact = [one for one in plain if one[0].key in (one[1].upper(), "WAVE")]
    if len(exact) == 1 and len({one[1] for one in plain}) == 1:
        return exact[0]
    names = ", ".join(repr(one[0].name) for one in plain)
    raise fault(f"each of {names} could be its coordinate", f"{{'coordinate': {plain[0][0].name!r}}}")


def _quantity(column: Column) -> tuple[str, bool]:
    """What a coordinate is called, and whether it holds logarithms; no name where it is no coordinate."""
    if column.key in LOGARITHMS:
        return "wavelength", True
    by_ucd = (name for ucd, name in _UCDS.items() if column.ucd.startswith(ucd))
    return COORDINATES.get(column.key) or next(by_ucd, ""), False


_UCDS = {
    "em.wl": "wavelength",
    "em.freq": "frequency",
    "em.energy": "energy",
    "em.wavenumber": "wavenumber",
    "spect.dopplerveloc": "velocity",
}


def _samples(
    columns: Sequence[Column], coordinate: Column | None, named: Mapping[str, tuple[Column, ...]], fault: _MakeFault
) -> list[Column]:
    """The columns with a value for each sample."""
    given = [c for key, some in named.items() if not key.endswith("coordinate") for c in some]
    if coordinate is None and not given:
        raise fault("its coordinate is None, and no data are named", "{'coordinate': None, 'data': 'FLUX'}")
    shape = coordinate.shape if coordinate is not None else given[0].shape
    if len(shape) > 1:
        raise fault(f"rows of {(coordinate or given[0]).name!r} have the shape {shape}, not one dimension")
    misfit = [c for c in given if c.shape != shape]
    if misfit:
        raise fault(f"{misfit[0].name!r} has another shape than the coordinate, {list(shape)}")
    return [c for c in columns if c.shape == shape and c != coordinate and c.kind and c.kind != "A"]


def _role(column: Column, samples: Sequence[Column]) -> Role:
    """What a column is, by TUTYP and TUCD, or else by a word of its name beside that of another column."""
    typed = by_utype(column.utype) or by_utype(column.ucd)
    if isinstance(typed, Role):
        return typed
    others = [c for c in samples if c is not column]  # without the coordinate: its errors are none of the data
    for role, left in _words(column.key):
        if not left or left in FLUXES or _of(left, others) is not None:
            return role
    return Role.DATA


def _of(left: str, columns: Sequence[Column]) -> Column | None:
    """The column that a part of a name means: ``FLUX``, or ``REDUCED`` for ``FLUX_REDUCED``."""
    exact = [c for c in columns if c.key == left]
    near = [c for c in columns if c.key.endswith(f"_{left}") or c.key.startswith(f"{left}_")]
    return next(iter([*exact, *near]), None)


def _words(key: str) -> Iterator[tuple[Role, str]]:
    """The words of a name that mean errors or flags, each with the rest of the name."""
    for word, role in ROLE_WORDS.items():
        if key == word and len(word) > 1:
            yield role, ""
        rests = [key.removesuffix(f"_{word}"), key.removeprefix(f"{word}_")]
        rests += [rest for rest in (key.removesuffix(word), key.removeprefix(word)) if rest in FLUXES]
        yield from ((role, rest) for rest in rests if rest != key)


def _main(plain: Sequence[Column], fault: _MakeFault) -> tuple[Column, ...]:
    """The data that errors and flags belong to: by type, by name, or the only ones."""
    if not plain:
        raise fault("no column beside the coordinate has numbers for each sample that are no errors and no flags")
    by_name = [c for word in FLUXES for c in plain if c.key == word]
    by_type = [c for c in plain if by_utype(c.utype) is Role.DATA or c.ucd.startswith("phot.flux")]
    alike = [c for c in plain if any(word in FLUXES[:5] for word in c.key.split("_"))]
    for found in (by_name[:1], by_type, alike, plain):
        if len(found) == 1:
            return (found[0],)
    if alike:
        return tuple(alike)
    names = ", ".join(repr(c.name) for c in plain)
    raise fault(f"each of {names} could be the data", f"{{'data': {plain[0].name!r}}}")


def _owner(column: Column, data: Sequence[Column]) -> Column:
    """The data that errors or flags belong to: by the rest of the name, else the main one."""
    for _, left in _words(column.key):
        if left and (found := _of(left, data)) is not None:
            return found
    return data[0]
