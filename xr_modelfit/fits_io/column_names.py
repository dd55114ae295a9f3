"""Words that columns of spectra are called by, and the types of the virtual observatory (TUTYP, TUCD)."""

from xr_modelfit.fits_io.hdus import Role

__all__ = ["COORDINATES", "FLUXES", "LOGARITHMS", "ROLE_WORDS", "by_utype"]

_QUANTITIES = {
    "wavelength": "WAVE WAVELENGTH WAVELENGTHS LAMBDA LAM WAV WL WLEN VACWAVE AIRWAVE WAVE_VAC WAVE_AIR LAMBDA_VAC "
    "LAMBDA_AIR WAVELENGTH_VAC WAVELENGTH_AIR VACUUM_WAVELENGTH AIR_WAVELENGTH",
    "frequency": "FREQ FREQUENCY",
    "energy": "ENERGY",
    "velocity": "VELO VELOCITY VRAD VOPT",
    "wavenumber": "WAVENUMBER",
    "time": "TIME",
}
COORDINATES = {word: quantity for quantity, words in _QUANTITIES.items() for word in words.split()}
LOGARITHMS = ("LOGLAM", "LOGLAMBDA", "LOGWAVE", "LOG_LAM", "LOG_LAMBDA", "LOG_WAVE", "LOG10_WAVE", "LOG10LAM")
# Of several, the first one is the main one; any word of a name, of the first five.
FLUXES = (
    "FLUX", "FLUXES", "INTENSITY", "SPECTRUM", "COUNTS", "SPEC", "DATA", "FLAM", "FNU", "FLUX_DENSITY", "RATE",
    "COUNT_RATE", "TB", "BRIGHTNESS",
)  # fmt: skip
_OF_ROLES = {
    Role.SIGMA: (
        "ERR", "ERROR", "ERRORS", "STDDEV", "STD", "SIGMA", "SIG", "UNCERT", "UNCERTAINTY", "UNC", "NOISE", "RMS", "E",
    ),
    Role.INVERSE_VARIANCE: ("IVAR", "INVVAR", "INV_VAR", "INVERSE_VARIANCE"),
    Role.VARIANCE: ("VAR", "VARIANCE", "STAT"),
    Role.FLAGS: (
        "AND_MASK", "OR_MASK", "DQ", "MASK", "FLAGS", "FLAG", "QUALITY", "QUAL", "BADPIX", "BPM", "DATA_QUALITY",
    ),
    Role.GOOD: ("GOOD",),
}  # fmt: skip
ROLE_WORDS = {word: role for role, words in _OF_ROLES.items() for word in words}


def by_utype(text: str) -> Role | str | None:
    """What a TUTYP or TUCD says: a role, ``"coordinate"``, or None where it says neither."""
    words = text.lower()
    if "spectralaxis.value" in words:
        return "coordinate"
    if "fluxaxis.value" in words:
        return Role.DATA
    if "fluxaxis.accuracy.staterror" in words or (words.startswith("stat.error") and "em." not in words):
        return Role.SIGMA
    if "fluxaxis.accuracy.quality" in words or words.startswith("meta.code.qual"):
        return Role.FLAGS
    return None
