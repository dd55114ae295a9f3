"""How many strings of units each reader reads rightly: this package, astropy's parsers, cf-xarray, pint, cf-units.

    python tests/benchmarks/unit_readers.py [--wrong]

Prints a table in Markdown; readers that are not installed are left out. The strings and their meanings are those of
``tests/support/unit_corpus.py``. Right is a unit of the right size (to 1e-4, for years) and kind. A reader that takes
what is counted (photons, pixels) for pure numbers is right too, and warnings do not matter. ``--wrong`` lists what each
reader reads as something else.
"""

import argparse
import importlib
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from astropy import units as u
from astropy.units import imperial

from xr_modelfit.units.text import UnknownUnitError, parse_unit

sys.path.insert(0, str(Path(__file__).parents[1]))
from support.unit_corpus import CORPUS, NO_UNITS

Meaning = tuple[float, dict[str, float]]
Reader = Callable[[str, bool], Meaning | None]  # of a string, which may be a temperature's; None where it is refused

COUNTED = {"ct", "ph", "pix", "beam", "adu", "DN", "electron", "rad", "bit"}
BASES_OF_PINT = {
    "meter": "m",
    "kilogram": "kg",
    "second": "s",
    "ampere": "A",
    "kelvin": "K",
    "mole": "mol",
    "candela": "cd",
}
DEGREES_OF_PINT = ("degree_Celsius", "degree_Fahrenheit")
DEGREES = {"deg_C": 1.0, "deg_F": 5 / 9, "deg_R": 5 / 9}


def meaning(unit: u.UnitBase) -> Meaning:
    """Size and powers of the units of the SI; of a logarithm, its name."""
    if isinstance(unit, u.function.FunctionUnitBase) or "mag" in str(unit).split() or unit == u.dB:
        return 1.0, {str(unit): 1.0}
    parts = unit.decompose()
    scale, powers = float(parts.scale), {}
    for base, power in zip(parts.bases, parts.powers, strict=True):
        name = base.name
        if name in DEGREES:
            scale, name = scale * DEGREES[name] ** float(power), "K"
        if name not in COUNTED:
            powers[name] = powers.get(name, 0.0) + float(power)
    return scale, {name: power for name, power in powers.items() if power}


def same(one: Meaning, other: Meaning) -> bool:
    return one[1] == other[1] and math.isclose(one[0], other[0], rel_tol=1e-4)


def ours(text: str, temperature: bool) -> Meaning | None:
    try:
        return meaning(parse_unit(text, temperature=temperature))
    except UnknownUnitError:
        return None


def astropys(*formats: str) -> Reader:
    """The first of some parsers of astropy that reads the string, with imperial units."""

    def read(text: str, temperature: bool) -> Meaning | None:
        for name in formats:
            try:
                with u.add_enabled_units(imperial):
                    return meaning(u.Unit(text, format=name))
            except (ValueError, TypeError):
                continue
        return None

    return read


def pints(registry: object) -> Reader:
    """Units of pint, read by one of its registries."""

    def read(text: str, temperature: bool) -> Meaning | None:
        try:
            size, unit = 1.0, _unit_of_pint(registry, text)
            if unit is None:  # a number and a unit
                quantity = registry.parse_expression(text)
                unit = getattr(quantity, "units", registry.Unit(""))
                size = float(getattr(quantity, "magnitude", quantity))
            if str(unit) == "decibel":
                return 1.0, {"dB": 1.0}
            differences = {f"delta_{n}" if n in DEGREES_OF_PINT else n: p for n, p in unit._units.items()}
            base = registry.Quantity(1.0, registry.UnitsContainer(differences)).to_base_units()
        except Exception:  # pint raises all sorts of things
            return None
        powers = {BASES_OF_PINT.get(str(name), str(name)): float(power) for name, power in base.units._units.items()}
        scale = size * float(base.magnitude)
        dropped = {"radian", "count", "pixel", "bit", "photon"}
        return scale, {name: power for name, power in powers.items() if name not in dropped}

    return read


def _unit_of_pint(registry: object, text: str) -> object | None:
    try:
        return registry.parse_units(text)
    except Exception:  # pint raises all sorts of things
        return None


def cf_units_reader() -> Reader:
    """UDUNITS-2, by cf-units."""
    from cf_units import Unit

    targets = [(Unit(text), powers) for text, powers in dict(kinds()).items()]

    def read(text: str, temperature: bool) -> Meaning | None:
        try:
            unit = Unit(text)
            if unit.is_unknown() or unit.is_no_unit():
                return None
        except ValueError:
            return None
        for target, powers in targets:
            if unit.is_convertible(target):
                zero, one, two = (unit.convert(x, target) for x in (0.0, 1.0, 2.0))
                if math.isclose(two - one, scale := one - zero, rel_tol=1e-6):  # seconds and hertz are reciprocals
                    return scale, powers
        return float("nan"), {"other": 1.0}

    return read


def kinds() -> Iterator[tuple[str, dict[str, float]]]:
    """All kinds in the corpus, as UDUNITS-2 writes them."""
    for table in CORPUS.values():
        for unit in table.values():
            _, powers = meaning(unit)
            if set(powers) <= set(BASES_OF_PINT.values()):
                yield " ".join(f"{n}^{int(p)}" for n, p in sorted(powers.items()) if p == int(p)) or "1", powers


def in_turn(*readers: Reader) -> Reader:
    return lambda text, temperature: next((m for r in readers if (m := r(text, temperature)) is not None), None)


def readers() -> dict[str, Reader]:
    """By name, those that are installed."""
    formats = ("fits", "ogip", "cds", "vounit", "generic")
    found: dict[str, Reader] = {"xr_modelfit": ours}
    found |= {f"astropy, {name!r}": astropys(name) for name in formats}
    found["astropy, all five in turn"] = astropys("fits", "generic", "vounit", "cds", "ogip")
    others = []
    if importlib.util.find_spec("pint"):
        import pint

        found["pint"] = pints(pint.UnitRegistry())
    if importlib.util.find_spec("cf_xarray"):
        from cf_xarray.units import units as registry

        found["cf-xarray (pint)"] = pints(registry)
        others.append(found["cf-xarray (pint)"])
    if importlib.util.find_spec("cf_units"):
        found["cf-units (UDUNITS-2)"] = cf_units_reader()
        others.append(found["cf-units (UDUNITS-2)"])
    if others:
        found["all of these in turn"] = in_turn(found["astropy, all five in turn"], *reversed(others))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wrong", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    sizes = " | ".join(f"{name} ({len(table)})" for name, table in CORPUS.items())
    print(
        f"| reader | {sizes} | all ({sum(map(len, CORPUS.values()))}) | read wrongly | not refused ({len(NO_UNITS)}) |"
    )
    print("|---" * (len(CORPUS) + 4) + "|")
    for name, read in readers().items():
        right, wrong = [], []
        for table in CORPUS.values():
            answers = {text: read(text, unit in (u.deg_C, imperial.deg_F)) for text, unit in table.items()}
            good = {text for text, m in answers.items() if m is not None and same(m, meaning(table[text]))}
            right.append(len(good))
            wrong += [text for text, m in answers.items() if m is not None and text not in good]
        guessed = [text for text in NO_UNITS if read(text, False) is not None]
        print(f"| {name} | {' | '.join(map(str, right))} | {sum(right)} | {len(wrong)} | {len(guessed)} |")
        if options.wrong:
            print("  wrong:", wrong, "\n  guessed:", guessed)


if __name__ == "__main__":
    main()
