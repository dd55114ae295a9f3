"""Units as files and people write them are read as worked out by hand, or refused; never as something else."""

import math

import pytest
from astropy import units as u
from astropy.units import imperial

from support.unit_corpus import CORPUS, NO_UNITS
from xr_modelfit.units.text import UnknownUnitError, parse_unit

NOT_READ = {
    *("m of water equivalent", "gC m-2 d-1", "K_CMB", "log(1/cm^2)"),  # say of what a unit is
    *("e-/s", "e/s", "uM", "g/cc", "wt%", "uatm", "micromol kg-1"),  # no words of ours
    *("degrees true", "solar mass", "light year", "arb. units", "arbitrary"),
    *("mag(AB)", "nV/sqrt(Hz)"),  # functions
    *("m s^{-1}", "$km s^{-1}$"),  # TeX
}
STRINGS = {(group, text): unit for group, table in CORPUS.items() for text, unit in table.items()}


def test_the_corpus_has_at_least_300_strings() -> None:
    assert len({text for _, text in STRINGS}) > 500
    assert {text for _, text in STRINGS} > NOT_READ


@pytest.mark.parametrize(("group", "text"), [key for key in STRINGS if key[1] not in NOT_READ])
def test_a_string_is_read_as_its_authority_means_it(group: str, text: str) -> None:
    expected = STRINGS[group, text]
    found = parse_unit(text, temperature=expected in (u.deg_C, imperial.deg_F))
    assert found == expected or math.isclose(found.to(expected), 1, rel_tol=1e-9)


@pytest.mark.parametrize("text", sorted({*NOT_READ, *NO_UNITS}))
def test_what_is_not_read_is_refused(text: str) -> None:
    with pytest.raises(UnknownUnitError):
        parse_unit(text)
