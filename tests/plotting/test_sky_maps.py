"""Maps of the sky: positions by astropy's own WCS and by spherical trigonometry; labels, directions, scales."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.modeling.models import Gaussian1D, Linear1D
from astropy.wcs import WCS

import xr_modelfit

pytest.importorskip("matplotlib")

from support.drawn import OLD_WARNINGS, clashes, on_panels

pytestmark = [*OLD_WARNINGS, pytest.mark.quick_share(3)]
SHAPE = (12, 16)


def wcs_of(**changes: Any) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (51.4, 60.0), (8, 6), (-0.02, 0.02)
    for name, value in changes.items():
        setattr(wcs.wcs, name, value)
    wcs.wcs.set()
    return wcs


def sky_fit(wcs: WCS | None = None, shape: tuple[int, int] = SHAPE) -> xr.Dataset:
    """Slopes that number the positions."""
    wcs = wcs_of() if wcs is None else wcs
    numbers = np.arange(float(np.prod(shape))).reshape(shape) + 1
    data = xr.DataArray(numbers[..., None] * np.arange(4.0), dims=("y", "x", "t"), name="T")
    data = data.assign_coords(xr_modelfit.coords_from_wcs(wcs, shape)).assign_coords(t=np.arange(4.0))
    return data.modelfit(Linear1D(), "t")


def sky_axes_of(picture: Any) -> list[Any]:
    from astropy.visualization.wcsaxes import WCSAxes

    assert all(isinstance(ax, WCSAxes) for ax in picture.axs.flat)
    return list(picture.axs.flat)


def test_a_result_with_a_wcs_is_drawn_on_the_sky() -> None:
    picture = sky_fit().modelfit.plot()
    axs = sky_axes_of(picture)
    assert [ax.get_title() for ax in axs] == ["slope", "intercept", "fit_status"]
    assert axs[0].coords[1].get_axislabel() == "declination (ICRS)"
    assert axs[2].coords[0].get_axislabel() == "right ascension (ICRS)"
    assert not axs[0].coords[0].get_axislabel()  # the panel below has it
    texts = " ".join(text.get_text() for text in picture.fig.findobj(lambda a: hasattr(a, "get_text")))
    assert "pixel" not in texts
    assert "wcs" not in texts
    assert not clashes(picture.fig)
    assert not on_panels(picture.fig)


def test_ticks_are_in_hours_and_degrees() -> None:
    ax = sky_axes_of(sky_fit().modelfit.plot("slope", status=False))[0]
    lon, lat = (coordinate.get_format_unit() for coordinate in ax.coords)
    assert (lon, lat) == (u.hourangle, u.degree)
    assert "h" in ax.coords[0].format_coord(51.0)


def test_each_cell_is_where_astropy_has_it() -> None:
    """The centre of a cell on the axes, taken to the sky, is what the WCS says of that element of the array."""
    wcs, fit = wcs_of(), sky_fit()
    picture = fit.isel(y=slice(2, 9), x=slice(3, None)).modelfit.plot("slope", status=False)
    ax, mesh = sky_axes_of(picture)[0], picture.artists["slope"]
    corners = mesh.get_coordinates()
    centres = (corners[:-1, :-1] + corners[1:, 1:]) / 2
    values = np.ma.filled(mesh.get_array(), np.nan).reshape(centres.shape[:2])
    sky = ax.wcs.pixel_to_world(centres[..., 0], centres[..., 1])
    number = values - 1
    expected = wcs.pixel_to_world(number % SHAPE[1], number // SHAPE[1])
    assert sky.separation(expected).max() < 1e-6 * u.arcsec


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cdelt": (0.02, 0.02)},  # mirrored
        {"cdelt": (-0.02, -0.02)},
        {"cdelt": (0.02, -0.02)},  # upside down
        {"cdelt": (-0.02, 0.04)},  # tall pixels
        {"pc": [[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]]},
        {"ctype": ("GLON-CAR", "GLAT-CAR"), "crval": (51.4, 0.0), "pc": [[0.8, -0.6], [0.6, 0.8]]},
        {"ctype": ("DEC--TAN", "RA---TAN"), "crval": (60.0, 51.4), "cdelt": (0.02, -0.02)},
    ],
    ids=["plain", "mirrored", "southward", "turned", "tall", "rotated", "galactic", "declination first"],
)
def test_east_is_left_north_is_up_and_scales_are_equal(changes: dict[str, Any]) -> None:
    """Measured on the screen: a step north and a step east of the same angle, from the middle of the map."""
    fit = sky_fit(wcs_of(**changes))
    picture = fit.modelfit.plot("slope", status=False)
    ax = sky_axes_of(picture)[0]
    picture.fig.canvas.draw()
    middle = ax.wcs.pixel_to_world(7.5, 5.5)
    middle = middle[0] if isinstance(middle, list) else middle

    def on_screen(position: SkyCoord) -> np.ndarray:
        return ax.transData.transform(np.column_stack(ax.wcs.world_to_pixel(position)))[0]

    step = 2 * u.arcmin
    here = on_screen(middle)
    north = on_screen(middle.directional_offset_by(0 * u.deg, step)) - here
    east = on_screen(middle.directional_offset_by(90 * u.deg, step)) - here
    assert north[1] > 0
    assert east[0] < 0
    assert abs(np.hypot(*north) / np.hypot(*east) - 1) < 2e-3
    assert abs(north @ east) < 2e-3 * np.hypot(*north) * np.hypot(*east)
    assert not clashes(picture.fig)


def test_fk5_and_galactic_say_so() -> None:
    fk5 = sky_axes_of(sky_fit(wcs_of(radesys="FK5", equinox=2000.0)).modelfit.plot("slope", status=False))[0]
    assert fk5.coords[0].get_axislabel() == "right ascension (J2000)"
    galactic = wcs_of(ctype=("GLON-TAN", "GLAT-TAN"))
    ax = sky_axes_of(sky_fit(galactic).modelfit.plot("slope", status=False))[0]
    assert [one.get_axislabel() for one in ax.coords] == ["Galactic longitude", "Galactic latitude"]
    assert ax.coords[0].get_format_unit() == u.degree


def test_axes_of_the_user_s() -> None:
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(subplot_kw={"projection": wcs_of()})
    mesh = sky_fit().modelfit.plot("slope", ax=ax)
    assert [one.get_axislabel() for one in ax.coords] == ["right ascension (ICRS)", "declination (ICRS)"]
    assert mesh.get_coordinates()[0, 0].tolist() == [-0.5, -0.5]
    assert ax.get_aspect() == pytest.approx(1)
    assert not clashes(figure)


def test_axes_of_another_projection_show_each_cell_at_its_place() -> None:
    """The corners of the mesh on the screen, back on the sky, are those of the data's WCS."""
    import matplotlib.pyplot as plt

    other = wcs_of(ctype=("GLON-CAR", "GLAT-CAR"), crval=(141.0, 2.0), cdelt=(-0.05, 0.05), crpix=(1, 1))
    figure, ax = plt.subplots(subplot_kw={"projection": other})
    mesh = sky_fit().modelfit.plot("slope", ax=ax)
    figure.canvas.draw()
    corners = mesh.get_coordinates().reshape(-1, 2)
    pixels = ax.transData.inverted().transform(mesh.get_transform().transform(corners))
    found = other.pixel_to_world(*pixels.T)
    expected = wcs_of().pixel_to_world(*corners.T)
    assert found.icrs.separation(expected).max() < 0.01 * u.arcsec
    low, high = sorted(ax.get_xlim())
    assert low <= pixels[:, 0].min() + 1e-9
    assert high >= pixels[:, 0].max() - 1e-9
    assert not clashes(figure)


def test_right_ascension_and_declination_on_plain_axes() -> None:
    picture = sky_fit().modelfit.plot("slope", x="ra", y="dec", status=False)
    ax = picture.axs[0]
    assert ax.name == "rectilinear"
    assert ax.xaxis_inverted()
    assert ax.get_aspect() == pytest.approx(1 / np.cos(np.deg2rad(60.0)), rel=5e-3)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("right ascension", "declination")
    picture.fig.canvas.draw()
    for text, at in zip(ax.get_xticklabels(), ax.get_xticks(), strict=True):
        words = text.get_text()
        if words:
            assert abs(SkyCoord(words + ("00s" if words.endswith("m") else ""), "0d").ra.deg - at) < 1e-6
    assert any("h" in text.get_text() for text in ax.get_xticklabels())
    assert any("°" in text.get_text() for text in ax.get_yticklabels())
    assert not clashes(picture.fig)


def test_a_field_across_zero_hours_is_whole() -> None:
    picture = sky_fit(wcs_of(crval=(0.0, 10.0))).modelfit.plot("slope", x="ra", y="dec", status=False)
    low, high = sorted(picture.axs[0].get_xlim())
    assert -0.3 < low < 0 < high < 0.3
    picture.fig.canvas.draw()
    assert any(text.get_text().startswith("23h") for text in picture.axs[0].get_xticklabels())
    assert any(text.get_text().startswith("0h") for text in picture.axs[0].get_xticklabels())


def test_facets_and_a_third_dim_are_drawn_on_the_sky() -> None:
    fit = sky_fit()
    stack = xr.concat([fit, fit], xr.Variable("epoch", [1, 2]), data_vars="all", coords="minimal", compat="override")
    grid = stack.modelfit.plot("slope", col="epoch")
    assert [ax.get_title() for ax in grid.axs.flat] == ["epoch = 1", "epoch = 2"]
    assert grid.axs[0, 0].coords[1].get_axislabel() == "declination (ICRS)"
    assert not grid.axs[0, 1].coords[1].get_axislabel()
    assert not clashes(grid.fig)
    picture = stack.modelfit.plot()
    assert picture.axs.shape == (3, 2)
    sky_axes_of(picture)
    assert not clashes(picture.fig)


def test_maps_that_are_of_no_sky_have_plain_axes() -> None:
    fit = sky_fit()
    for other in (
        fit.drop_vars("wcs"),
        fit.assign_coords(x=np.arange(16.0) * 3),
        fit.rename(x="column").drop_vars("column"),
    ):
        assert other.modelfit.plot("slope").axs[0].name == "rectilinear"


def test_the_real_cube(shared_data: Any) -> None:
    path = shared_data / "l1448_13co.fits"
    cube = xr_modelfit.from_fits(path).isel(y=slice(30, 50), x=slice(30, 60)).load()
    fit = cube.modelfit(Gaussian1D(1, 4200, 400), "velocity", errors="ignore")
    picture = fit.modelfit.plot(snr=5)
    axs = sky_axes_of(picture)
    with fits.open(path) as hdus:
        expected = WCS(hdus[0].header).celestial.pixel_to_world(45, 40)
    assert axs[0].wcs.pixel_to_world(45, 40).separation(expected) < 1e-6 * u.arcsec
    assert axs[3].coords[0].get_axislabel() == "right ascension (ICRS)"
    blank = np.ma.getmaskarray(picture.artists["mean"].get_array()).reshape(20, 30)
    np.testing.assert_array_equal(blank, ~fit.modelfit.significant(snr=5).values)
    assert not clashes(picture.fig)
    assert not on_panels(picture.fig)
