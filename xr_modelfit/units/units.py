"""Units of arrays: read from ``attrs["units"]``, pint or astropy, and converted. Inside a fit, numbers are plain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from astropy import units as u
from astropy.units import Quantity, UnitBase

from xr_modelfit.messages import a, listed, suggestion
from xr_modelfit.units.text import UnknownUnitError, compose_text, parse_unit, write_unit
from xr_modelfit.units.times import TimeAxis

__all__ = [
    "Conversion",
    "Measure",
    "check_equivalencies",
    "conversion",
    "describe_equivalencies",
    "divided",
    "factor",
    "involves_temperature",
    "measure_of",
    "plain",
    "recorded_equivalencies",
    "required_conversion",
]

_KELVINS = {"deg_C": u.K, "deg_F": u.CompositeUnit(5 / 9, [u.K], [1])}
_OTHER_QUANTITY = re.compile(r"\b(variance|standard_deviation|range|sum|sum_of_squares)\b")  # in cell_methods
_NOT_CONVERTED = (u.UnitConversionError, TypeError)
_TEMPERATURES = ("tas", "tasmin", "tasmax", "t2m", "sst", "tos")


@dataclass(frozen=True)
class Measure:
    """What the numbers of an array mean."""

    text: str | None = None  # the unit as the user wrote it
    temperature: bool = False  # it is a temperature, so that "C" is a degree Celsius
    difference: bool = False  # it is a difference of temperatures, by CF's units_metadata
    time: TimeAxis | None = None  # what numbers of time count
    standard_name: str | None = None  # of CF, if another value of the same quantity may have it too
    scale: str | None = None  # units_metadata of CF: whether a temperature has a zero point

    @property
    def unit(self) -> UnitBase | None:
        """As astropy has it; None if it is missing or cannot be read."""
        try:
            return None if self.text is None else self.read()
        except UnknownUnitError:
            return None

    def read(self) -> UnitBase:
        """As astropy has it; raises UnknownUnitError for a string that is no known unit."""
        return parse_unit(self.text, temperature=self.temperature)


def _quantity_name(attrs: Mapping[Any, Any]) -> str | None:
    """CF's name of a quantity; None on an axis, and where a statistic or a modifier makes it another quantity."""
    name, methods = attrs.get("standard_name"), str(attrs.get("cell_methods", ""))
    one_word = isinstance(name, str) and re.fullmatch(r"\w+", name)
    other = _OTHER_QUANTITY.search(methods) or not {"axis", "positive"}.isdisjoint(attrs)
    return str(name) if one_word and not other else None


def measure_of(array: xr.DataArray) -> Measure:
    """What the attrs of an array say about its numbers."""
    text = array.attrs.get("units")
    if text is None:
        return Measure()
    text = write_unit(text) if isinstance(text, UnitBase) else str(text)
    words = " ".join(str(array.attrs.get(key, "")) for key in ("standard_name", "long_name")).lower()
    name = str(array.name).lower()
    temperature = "temperature" in words or name.startswith("temp") or name in _TEMPERATURES
    scale = array.attrs.get("units_metadata")
    return Measure(
        text,
        temperature,
        difference="difference" in str(scale),
        standard_name=_quantity_name(array.attrs),
        scale=None if scale is None else str(scale),
    )


def divided(measure: Measure, text: str | None) -> Measure:
    """What numbers mean that are divided by others in the unit ``text``; these have none if it is None or empty."""
    if not text:
        return measure
    return Measure() if measure.text is None else Measure(compose_text([(measure.text, 1), (str(text), -1)]))


def involves_temperature(text: str | None) -> bool:
    """Whether a unit is one of temperature, or made with one."""
    try:
        unit = None if text is None else parse_unit(text)
    except UnknownUnitError:
        return False
    bases = [] if unit is None else [inner for base in unit.bases for inner in base.decompose().bases]
    return any(base.name in ("K", *_KELVINS) for base in bases)


def plain(obj: Any) -> Any:
    """A DataArray or Dataset with the units of pint and astropy arrays moved to ``attrs["units"]``; nothing is copied.

    Anything else is returned as it is.
    """
    if not isinstance(obj, xr.DataArray | xr.Dataset) or not _wrapped(obj):
        return obj
    if isinstance(obj, xr.DataArray):
        return plain(obj.to_dataset(name="_data", promote_attrs=False))["_data"].rename(obj.name)
    if hasattr(obj, "pint") and any(_is_pint(v.data) for v in _loaded(obj)):
        obj = obj.pint.dequantify(format="D")  # knows the indexes of pint too
    for name, variable in obj.variables.items():
        data = variable._data
        if isinstance(data, Quantity):
            bare, text = data.value, write_unit(data.unit)
        elif _is_pint(data):
            bare, text = data.magnitude, f"{data.units:D}"
        else:
            continue
        new = xr.Variable(variable.dims, bare, {**variable.attrs, "units": text}, variable.encoding)
        obj = obj.assign_coords({name: new}) if name in obj.coords else obj.assign({name: new})
    return obj


def _loaded(obj: xr.DataArray | xr.Dataset) -> list[xr.Variable]:
    """Its variables whose type is known without reading a file."""
    coords = obj.coords.variables.values()
    variables = [obj.variable, *coords] if isinstance(obj, xr.DataArray) else obj.variables.values()
    return [v for v in variables if v._in_memory or v.chunks is not None or _is_pint(v._data)]


def _wrapped(obj: xr.DataArray | xr.Dataset) -> bool:
    return any(isinstance(v._data, Quantity) or _is_pint(v._data) for v in _loaded(obj))


def _is_pint(data: Any) -> bool:
    return type(data).__module__.split(".")[0] == "pint" and hasattr(data, "magnitude")


def factor(old: UnitBase, new: UnitBase) -> float | None:
    """The factor that converts numbers in ``old`` to ``new``; None if there is none."""
    if old == new:
        return 1.0
    if not (isinstance(old, UnitBase) and isinstance(new, UnitBase)):
        return None  # magnitudes of something are logarithms
    with suppress(*_NOT_CONVERTED):
        return float(old.to(new, 1.0))
    if any(unit.decompose().powers == [1] for unit in (old, new)):
        return None  # a temperature scale, with its zero point
    with suppress(*_NOT_CONVERTED):  # per metre or per day, a degree Celsius is a kelvin: there is no zero point left
        return float(_of_differences(old).to(_of_differences(new), 1.0))
    return None


def _of_differences(unit: UnitBase) -> UnitBase:
    parts = unit.decompose()
    out = u.CompositeUnit(parts.scale, [], [])
    for base, power in zip(parts.bases, parts.powers, strict=True):
        out = out * _KELVINS.get(base.name, base) ** power
    return out


@dataclass(frozen=True)
class Conversion:
    """From one unit to another: ``numbers * factor + offset``, or by ``equivalencies`` of astropy if there are any."""

    old: UnitBase
    new: UnitBase
    factor: float = 1.0
    offset: float = 0.0
    equivalencies: Any = None

    @property
    def trivial(self) -> bool:
        return self.factor == 1.0 and self.offset == 0.0 and self.equivalencies is None

    def apply(self, values: xr.Variable) -> xr.Variable:
        """Converted numbers, float64; lazy ones stay lazy."""
        if self.trivial:
            return values
        converted: xr.Variable = xr.apply_ufunc(
            self._numbers, values, dask="parallelized", output_dtypes=[np.float64], keep_attrs=True
        )
        return converted

    def _numbers(self, values: np.ndarray) -> np.ndarray:
        values = np.asarray(values, dtype=float)
        if self.equivalencies is None:
            return values * self.factor + self.offset
        with np.errstate(all="ignore"):  # a sample at 0 has no wavelength; it is left out
            return np.asarray(self.old.to(self.new, values, equivalencies=self.equivalencies), dtype=float)


def conversion(old: UnitBase, new: UnitBase, equivalencies: Any = None, difference: bool = False) -> Conversion | None:
    """How numbers in ``old`` become numbers in ``new``; None if they cannot.

    Temperature scales have an offset, except for ``difference``.
    """
    times = factor(old, new)
    if times is not None:
        return Conversion(old, new, times)
    if not (isinstance(old, UnitBase) and isinstance(new, UnitBase)):
        return None
    with suppress(*_NOT_CONVERTED):
        zero, large = (float(old.to(new, v, equivalencies=u.temperature())) for v in (0.0, 1e4))
        times = round((large - zero) / 1e4, 12)  # the offset's rounding is no part of the factor
        return Conversion(old, new, times, 0.0 if difference else zero)
    with suppress(*_NOT_CONVERTED):
        old.to(new, 1.0, equivalencies=equivalencies or [])
        return Conversion(old, new, equivalencies=equivalencies)
    return None


def required_conversion(
    now: Measure,
    then: Measure,
    what: str,
    of: str = "the data",
    *,
    equivalencies: Any = None,
    difference: bool = False,
    error: type[ValueError] = ValueError,
) -> Conversion:
    """As `conversion`, or an error; ``what`` is its subject with a verb ("sigma is"), ``of`` has the wanted unit."""
    try:
        how = conversion(now.read(), then.read(), equivalencies, difference)
        if how is None:  # C, on what has lost its name
            now, then = (replace(one, temperature=True) for one in (now, then))
            how = conversion(now.read(), then.read(), equivalencies, difference)
    except UnknownUnitError as unknown:
        raise error(f"{what} in {now.text!r}, {of} in {then.text!r}: {unknown} Correct its attrs['units'].") from None
    if how is None:
        raise error(
            f"{what} in {now.text!r}, which cannot be converted to {then.text!r}, the unit of {of}. Correct its "
            "attrs['units']."
        )
    return how


def check_equivalencies(equivalencies: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Equivalencies by model input.

    ``equivalencies`` is ``{input or coordinate: equivalencies}``, with one input also just the equivalencies;
    ``inputs`` maps each input to its coordinate. Raises TypeError or ValueError for anything else.
    """
    if equivalencies is None:
        return {}
    if not isinstance(equivalencies, Mapping):
        if len(inputs) != 1 or not isinstance(equivalencies, list | tuple):
            raise TypeError(
                f"equivalencies is {a(equivalencies)}; pass a mapping from inputs or coordinates to equivalencies: "
                f"for example {{{next(iter(inputs))!r}: u.doppler_radio(rest)}}."
            )
        return {next(iter(inputs)): equivalencies}
    found: dict[str, Any] = {}
    for key, value in equivalencies.items():
        names = [name for name, coordinate in inputs.items() if key in (name, coordinate)]
        if not names:
            known = dict.fromkeys([*inputs, *inputs.values()])
            raise ValueError(
                f"equivalencies has the key {key!r}, but the model's inputs and their coordinates are {listed(known)}."
                f"{suggestion(key, known)}"
            )
        if value is not None and not isinstance(value, list | tuple):
            raise TypeError(
                f"equivalencies[{key!r}] is {a(value)}; pass equivalencies of astropy.units, for example u.spectral()."
            )
        found |= dict.fromkeys(names, value)
    return found


def describe_equivalencies(equivalencies: Any) -> list[Any] | None:
    """Equivalencies of astropy for JSON: name and arguments. None if they have no name, or arguments of other types."""
    described: list[Any] = []
    for name, given in zip(getattr(equivalencies, "name", ()), getattr(equivalencies, "kwargs", ()), strict=True):
        described.append([name, arguments := dict(given)])
        for key, value in given.items():
            if isinstance(value, Quantity) and value.ndim == 0:
                arguments[key] = [float(value.value), value.unit.to_string()]
            elif value is not None and not isinstance(value, bool | int | float | str):
                return None
    return described or None


def recorded_equivalencies(described: Any) -> Any:
    """The reverse of `describe_equivalencies`."""
    from astropy.units import equivalencies as known

    found: list[Any] = []
    for name, given in described or []:
        if name not in known.__all__:
            raise ValueError(f"The record names the equivalency {name!r}, which astropy does not know.")
        arguments = {k: Quantity(*v) if isinstance(v, list) else v for k, v in given.items()}
        found = found + list(getattr(known, name)(**arguments))
    return found or None
