"""placeholder until the real module is written here"""

from astropy import units as u


class UnknownUnitError(ValueError):
    pass


def parse_unit(text, *, temperature=False):
    try:
        return u.Unit({"degC": "deg_C"}.get(str(text), str(text)))
    except ValueError as e:
        raise UnknownUnitError(str(e)) from None


def write_unit(unit, spellings=None):
    return {"deg_C": "degC"}.get(unit.to_string(), unit.to_string("fits") if unit != u.one else "1")


def compose_text(factors):
    if len(factors) == 1 and factors[0][1] == 1:
        return factors[0][0]
    return " ".join(f"{t}{p}" for t, p in factors) or "1"
