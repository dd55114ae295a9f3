"""The report: every count against a count by hand."""

import re
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import models

from xr_modelfit import FitError, FitStatus, RecordError

X = np.linspace(-3.0, 3.0, 31)


def data(noise: tuple[float, ...] = (0.1, 0.2, 0.5, 0.3)) -> xr.DataArray:
    """Four lines by two rows, of growing noise; one position is masked, one has too few samples."""
    rng = np.random.default_rng(0)
    line = models.Gaussian1D(2.0, 0.5, 0.8)(X)
    y = line + rng.normal(0, 1, (2, 4, X.size)) * np.array(noise)[:, None]
    y[1, 0] = np.nan
    y[1, 1, 2:] = np.nan
    times = np.array(["2020-01-01", "2020-01-02"], dtype="datetime64[ns]")
    return xr.DataArray(y, dims=("time", "q", "x"), coords={"x": X, "q": [1.5, 2.5, 3.5, 4.5], "time": times}, name="f")


def fitted(**options: Any) -> xr.Dataset:
    return data().modelfit(models.Gaussian1D(2, 0.5, 1.0), dim="x", sigma=0.1, errors="ignore", **options)


def test_counts_are_those_of_the_status() -> None:
    fit = fitted()
    report = fit.modelfit.report()
    codes = fit["fit_status"].values.ravel().tolist()
    assert report.counts == {"": {s: codes.count(int(s)) for s in FitStatus if int(s) in codes}}
    assert report.counts[""][FitStatus.NO_DATA] == report.counts[""][FitStatus.TOO_FEW_POINTS] == 1
    assert str(report).startswith("8 fits, 6 successful (75.0 %)")


def test_the_worst_are_those_with_the_largest_chi_square() -> None:
    fit = fitted()
    (worst,) = fit.modelfit.report(n_worst=3).worst.values()
    good = fit["reduced_chi2"].where(fit["fit_status"] > 0)
    expected = np.sort(good.values[np.isfinite(good.values)])[::-1][:3]
    assert [value for _, value in worst] == expected.tolist()
    for labels, value in worst:
        assert good.sel(labels).item() == value  # the labels lead back to the fit
    text = str(fit.modelfit.report(n_worst=1))
    assert "Largest reduced_chi2" in text
    assert "time=2020-01-0" in text
    assert "00:00:00" not in text
    assert "Largest" not in str(fit.modelfit.report(n_worst=0))


def test_the_share_on_a_bound() -> None:
    """Counted where an independent fit without bounds lies beyond."""
    free = fitted()
    bounded = fitted(bounds={"stddev": (None, 0.85), "mean": (0.4, 0.6)}, p0={"stddev": 0.7})
    report = bounded.modelfit.report()
    on_width = int((bounded["stddev"] == 0.85).sum())
    on_mean = int(((bounded["mean"] == 0.4) | (bounded["mean"] == 0.6)).sum())
    counted = {"mean": on_mean, "stddev": on_width}
    assert report.at_bound == {"": {name: n for name, n in counted.items() if n}}
    assert on_width
    assert (free["stddev"].values[bounded["stddev"].values == 0.85] > 0.85).all()
    good = sum(n for s, n in report.counts[""].items() if s > 0)
    assert f"stddev in {on_width} ({100 * on_width / good:.1f} %)" in str(report)
    assert free.modelfit.report().at_bound == {"": {}}


def test_several_fits() -> None:
    ds = xr.Dataset({"a": data(), "b": data((0.1, 0.1, 0.1, 0.1))})
    fit = ds.modelfit(models.Gaussian1D(2, 0.5, 1.0), dim="x", errors="ignore")
    report = fit.modelfit.report()
    assert list(report.counts) == list(report.worst) == list(report.at_bound) == ["a_", "b_"]
    text = str(report)
    assert text.index("a: 8 fits") < text.index("b: 8 fits")
    html = report._repr_html_()
    assert html.count("8 fits") == 2


def test_the_table_of_notebooks_holds_the_same() -> None:
    fit = fitted(bounds={"stddev": (None, 0.85)}, p0={"stddev": 0.7})
    report = fit.modelfit.report(n_worst=2)
    html = report._repr_html_()
    for status, n in report.counts[""].items():
        assert f"<td>{status.meaning}</td><td>{n}</td>" in html
    for labels, value in report.worst[""]:
        assert f"<td>{labels['q']:g}</td><td>{value:.4g}</td>" in html
    assert html.count("<table>") == html.count("</table>") == 2
    assert "<p>Largest reduced_chi2:</p><table>" in html
    assert "On a bound: stddev" in html


def test_names_in_the_table_are_text() -> None:
    """A dim called like a tag is no tag."""
    array = data().rename(q="<b>")
    fit = array.modelfit(models.Gaussian1D(2, 0.5, 1.0), dim="x", errors="ignore")
    assert "<th><b>" not in fit.modelfit.report()._repr_html_()


def test_a_single_fit_and_a_dim_without_labels() -> None:
    fit = fitted()
    alone = fit.isel(time=0, q=0).modelfit.report()
    assert str(alone).splitlines()[0] == "1 fit, 1 successful (100.0 %)"
    assert alone.worst == {"": []}
    bare = fit.drop_vars("q").modelfit.report(n_worst=1)
    assert set(bare.worst[""][0][0]) == {"time", "q"}
    assert isinstance(bare.worst[""][0][0]["q"], int)


@pytest.mark.parametrize("lazy", [False, True])
def test_an_input_that_counts_positions_is_told(lazy: bool) -> None:
    """A dim without a coordinate: width and position are in steps of it, which a number alone does not show."""
    array = data().drop_vars("x")
    fit = (array.chunk() if lazy else array).modelfit(models.Linear1D(), "x", errors="ignore")
    words = f"x counts 0 to {array.sizes['x'] - 1} along x (no coordinate)"
    assert fit.attrs["history"].splitlines()[0].endswith(f"along x; {words}")
    assert f"Linear1D, {words}" in repr(fit.modelfit)
    report = fit.modelfit.report()
    assert report.counted == {"": [words]}
    assert f"The model's input {words}." in str(report).splitlines()
    assert words in report._repr_html_()


def test_each_input_tells_of_itself() -> None:
    """Of two inputs, the one that has a coordinate is read; a coordinate given as an array is no count."""
    plane = xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("y", "x"), coords={"y": [0.0, 5.0, 7.0]})
    fit = plane.modelfit(models.Planar2D(), ("y", "x"))
    assert "x counts 0 to 3 along x (no coordinate), y reads y" in repr(fit.modelfit)
    assert fit.modelfit.report().counted == {"": ["x counts 0 to 3 along x (no coordinate)"]}
    given = plane.modelfit(models.Linear1D(), "x", coords=xr.DataArray([0.0, 1.0, 2.0, 4.0], dims="x", name="x"))
    assert given.modelfit.report().counted == {"": []}
    assert "counts" not in given.attrs["history"] + repr(given.modelfit)


def test_lazy_results_are_computed_once() -> None:
    fit = fitted()
    lazy = fit.chunk(q=1)
    assert lazy.modelfit.report() == fit.modelfit.report()
    assert lazy["fit_status"].chunks is not None


def test_parts_of_a_result() -> None:
    """Masked, or aligned to more positions: no status there. Without errors or chi-square: what is left is told."""
    fit = fitted()
    wider = fit.reindex(q=[1.5, 2.5, 3.5, 4.5, 5.5])
    report = wider.modelfit.report()
    assert FitStatus.NOT_ATTEMPTED not in report.counts[""]
    assert report.masked == {"": 2}
    assert "Not counted: 2 positions without a status, masked or added by an alignment." in str(report)
    assert "Not counted: 2 positions without a status" in report._repr_html_()
    assert "; 2 positions without a status" in repr(wider.modelfit)
    masked = fit.where(fit["q"] < 2).modelfit.report()
    assert (sum(masked.counts[""].values()), masked.masked) == (2, {"": 6})
    assert fit.modelfit.report().masked == {}
    bare = fit[["amplitude", "mean", "stddev", "fit_status"]]
    assert bare.modelfit.report().counts == fit.modelfit.report().counts
    assert bare.modelfit.report().worst == {"": []}


def test_an_averaged_status_is_no_status() -> None:
    fit = fitted()
    with xr.set_options(keep_attrs=True):
        mean = fit.mean("q")
    with pytest.raises(RecordError, match="do not average"):
        mean.modelfit.report()


@pytest.mark.parametrize("n_worst", [-1, 1.5, True, "3"])
def test_wrong_numbers_of_worst(n_worst: Any) -> None:
    with pytest.raises(ValueError, match="n_worst"):
        fitted().modelfit.report(n_worst=n_worst)


@pytest.mark.parametrize("label", ["2020-02-01", "2020-02-01T06"])
def test_the_first_failure_is_named_by_labels_that_can_be_read(label: str) -> None:
    """Dates are dates, not nanoseconds, and lead back to the position."""
    times = np.array(["2020-01-01", label], dtype="datetime64[ns]")
    array = data().assign_coords(time=times).isel(q=slice(1, None))
    with pytest.raises(FitError) as caught:
        array.modelfit(models.Gaussian1D(2, 0.5, 1.0), dim="x", errors="raise")
    (shown,) = re.findall(r"time=(.+?), q=2\.5 ", str(caught.value))
    assert np.datetime64(shown) == times[1]
