"""Small simulated spectra and series of single fields; see `xr_modelfit.tutorial`.

Each docstring gives the formula and the numbers that the data are made from. ``seed`` changes what is random.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

__all__ = [
    "coda_envelopes",
    "dose_response",
    "labelled",
    "raman_scan",
    "river_recession",
    "slit_spectra",
    "xray_spectra",
]


def slit_spectra(n_positions: int = 40, seed: int = 20260104) -> xr.DataArray:
    """Return spectra of a galaxy along a slit: H alpha between the two lines of [N II].

    Parameters
    ----------
    n_positions : int
        Number of positions along the slit, from -10 to 10 arcsec.
    seed : int
        Seed of the noise.

    Returns
    -------
    xarray.DataArray
        Flux in mJy with dims (position, wavelength); white noise of 0.15 mJy. Rest wavelengths in air are 656.28,
        658.35 and 654.80 nm. With s the position: velocity 220 tanh(s / 3) km/s, width (stddev) 70 km/s, H alpha
        8 exp(-abs(s) / 5) mJy, [N II] 658.35 lower by the ratio 0.35 + 0.25 exp(-(s / 2)**2), and 654.80 a third
        of that. The continuum is 2 exp(-abs(s) / 4) mJy.

    Examples
    --------
    >>> dict(slit_spectra().sizes)
    {'position': 40, 'wavelength': 120}
    """
    rng = np.random.default_rng(seed)
    at, wavelength = np.linspace(-10.0, 10.0, n_positions), np.linspace(653.0, 660.0, 120)
    s = at[:, None]

    def line(rest: float) -> np.ndarray:
        velocity = 299792.458 * (wavelength / rest - 1)
        return np.asarray(np.exp(-0.5 * ((velocity - 220 * np.tanh(s / 3)) / 70) ** 2))

    hydrogen = 8 * np.exp(-abs(s) / 5)
    nitrogen = hydrogen * (0.35 + 0.25 * np.exp(-((s / 2) ** 2)))
    flux = hydrogen * line(656.28) + nitrogen * (line(658.35) + line(654.80) / 3) + 2 * np.exp(-abs(s) / 4)
    return labelled(
        flux + rng.normal(0, 0.15, flux.shape), "flux", "mJy", "flux density",
        position=(at, "arcsec", "position along the slit"), wavelength=(wavelength, "nm", "wavelength in air"),
    )  # fmt: skip


def xray_spectra(n_spectra: int = 24, seed: int = 20260106) -> xr.DataArray:
    """Return X-ray spectra with few counts: a power law and the iron line, hour by hour.

    Parameters
    ----------
    n_spectra : int
        Number of spectra, one per hour.
    seed : int
        Seed of the counts.

    Returns
    -------
    xarray.DataArray
        Counts per bin of 0.05 keV with dims (time, energy); Poisson noise. The mean is
        ``norm * (energy / 5)**-1.7 + line * exp(-0.5 * ((energy - 6.4) / 0.08)**2)`` with
        ``norm = 3 + 1.8 * sin(2 * pi * time / 24)`` and ``line = 4 + 2.4 * sin(2 * pi * (time - 3) / 24)``.

    Examples
    --------
    >>> float(xray_spectra().mean("energy").min()) < 3
    True
    """
    rng = np.random.default_rng(seed)
    time, energy = np.arange(float(n_spectra)), np.linspace(3.025, 9.975, 140)
    day = 2 * np.pi * time[:, None] / 24
    mean = (3 + 1.8 * np.sin(day)) * (energy / 5) ** -1.7
    mean = mean + (4 + 2.4 * np.sin(day - np.pi / 4)) * np.exp(-0.5 * ((energy - 6.4) / 0.08) ** 2)
    return labelled(
        rng.poisson(mean).astype(float), "counts", "count", "counts per bin",
        time=(time, "h", "time"), energy=(energy, "keV", "energy"),
    )  # fmt: skip


def raman_scan(n_positions: int = 36, seed: int = 20260107) -> xr.DataArray:
    """Return Raman spectra along a line on carbon: the D and the G band overlap, on sloping fluorescence.

    Parameters
    ----------
    n_positions : int
        Number of positions, from 0 to 70 micrometres.
    seed : int
        Seed of the noise.

    Returns
    -------
    xarray.DataArray
        Counts with dims (position, shift); white noise of 6. Two Lorentzians: D at 1350 and G at 1585 per cm, with
        full widths at half maximum of 150 and 90 per cm. G is 200 high, D lower by the ratio
        ``0.4 + 0.8 / (1 + exp((35 - position) / 6))``. The fluorescence is ``300 + 0.08 * (shift - 1450)``.

    Examples
    --------
    >>> raman_scan()["shift"].attrs["units"]
    'cm-1'
    """
    rng = np.random.default_rng(seed)
    at, shift = np.linspace(0.0, 70.0, n_positions), np.linspace(1000.0, 1900.0, 150)

    def band(centre: float, fwhm: float) -> np.ndarray:
        return np.asarray(1 / (1 + ((shift - centre) / (fwhm / 2)) ** 2))

    ratio = 0.4 + 0.8 / (1 + np.exp((35 - at[:, None]) / 6))
    mean = 200 * (ratio * band(1350, 150) + band(1585, 90)) + 300 + 0.08 * (shift - 1450)
    return labelled(
        mean + rng.normal(0, 6, mean.shape), "intensity", "count", "intensity",
        position=(at, "um", "position"), shift=(shift, "cm-1", "Raman shift"),
    )  # fmt: skip


def river_recession(seed: int = 20260109) -> xr.DataArray:
    """Return the discharge of rivers after a flood, at five gauges.

    Parameters
    ----------
    seed : int
        Seed of the noise.

    Returns
    -------
    xarray.DataArray
        Discharge in m3/s with dims (gauge, time), four times a day for 30 days; noise of 3 %. The mean is
        ``base + flood * exp(-time / k)``: base 2, 3, 5, 8 and 12 m3/s, flood 40, 55, 80, 90 and 120 m3/s, k 2, 3,
        4.5, 6 and 9 days.

    Examples
    --------
    >>> river_recession()["gauge"].values.tolist()
    ['Source', 'Mill', 'Bridge', 'Ford', 'Mouth']
    """
    rng = np.random.default_rng(seed)
    time = np.arange(120) / 4
    base, flood, k = np.array([[2, 40, 2], [3, 55, 3], [5, 80, 4.5], [8, 90, 6], [12, 120, 9]]).T[..., None]
    mean = base + flood * np.exp(-time / k)
    names = np.array(["Source", "Mill", "Bridge", "Ford", "Mouth"])
    return labelled(
        mean * (1 + rng.normal(0, 0.03, mean.shape)), "discharge", "m3 s-1", "discharge",
        gauge=(names, "", "gauge"), time=(time, "d", "time after the peak"),
    )  # fmt: skip


def dose_response(seed: int = 20260111) -> xr.DataArray:
    """Return the inhibition by six compounds at ten doses, each measured three times.

    Parameters
    ----------
    seed : int
        Seed of the noise.

    Returns
    -------
    xarray.DataArray
        Inhibition in per cent with dims (compound, replicate, log_dose); white noise of 4. The mean is
        ``top / (1 + 10**(hill * (log_ec50 - log_dose)))``: top 95, 100, 80, 100, 60 and 98, log_ec50 -8, -7.5, -7,
        -6.5, -6 and -5.5, hill 1, 1.5, 1, 0.8, 1.2 and 2.

    Examples
    --------
    >>> dict(dose_response().sizes)
    {'compound': 6, 'replicate': 3, 'log_dose': 10}
    """
    rng = np.random.default_rng(seed)
    log_dose = np.linspace(-9.0, -4.5, 10)
    top, middle = np.array([95.0, 100, 80, 100, 60, 98]), np.arange(-8.0, -5.0, 0.5)
    hill = np.array([1, 1.5, 1, 0.8, 1.2, 2])
    mean = top[:, None, None] / (1 + 10 ** (hill[:, None, None] * (middle[:, None, None] - log_dose)))
    return labelled(
        mean + rng.normal(0, 4, (6, 3, 10)), "inhibition", "percent", "inhibition",
        compound=(np.array(list("ABCDEF")), "", "compound"), replicate=(np.arange(1, 4), "", "replicate"),
        log_dose=(log_dose, "1", "log10 of the dose in mol/l"),
    )  # fmt: skip


def coda_envelopes(n_stations: int = 8, seed: int = 20260113) -> xr.DataArray:
    """Return the envelope of an earthquake's coda at 4 Hz, at several stations.

    Parameters
    ----------
    n_stations : int
        Number of stations.
    seed : int
        Seed of the noise.

    Returns
    -------
    xarray.DataArray
        Envelope in nm/s with dims (station, time), from 20 to 80 s; its logarithm has a noise of 0.12. The mean is
        ``2e5 / time * exp(-pi * 4 * time / q)`` with q from 150 at the first station to 400 at the last.

    Examples
    --------
    >>> coda_envelopes().dims
    ('station', 'time')
    """
    rng = np.random.default_rng(seed)
    time, q = np.arange(20.0, 80.5, 0.5), np.linspace(150.0, 400.0, n_stations)[:, None]
    envelope = 2e5 / time * np.exp(-np.pi * 4 * time / q + rng.normal(0, 0.12, (n_stations, time.size)))
    names = np.array([f"ST{i + 1:02}" for i in range(n_stations)])
    return labelled(
        envelope, "envelope", "nm s-1", "envelope at 4 Hz",
        station=(names, "", "station"), time=(time, "s", "time since the earthquake"),
    )  # fmt: skip


def labelled(
    values: np.ndarray, name: str, units: str, long_name: str, /, **axes: tuple[np.ndarray, str, str]
) -> xr.DataArray:
    """Return labelled data; ``axes`` gives the values, the unit and the words of each dim, in order."""
    coords = {}
    for axis, (at, unit, words) in axes.items():
        coords[axis] = (axis, at, {"units": unit, "long_name": words} if unit else {"long_name": words})
    return xr.DataArray(values, coords, list(axes), name, {"units": units, "long_name": long_name})
