"""What is seen at the prompt: names, signatures, and what the accessor and the fitters show of themselves."""

import inspect
import re
from dataclasses import fields
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling.models import Gaussian1D, Linear1D

import xr_modelfit
from xr_modelfit import BatchLSQFitter, tutorial

T = np.arange(5.0)
DATA = xr.DataArray(
    np.stack([2 * T, 3 * T + 1, np.full(5, np.nan)]), dims=("station", "t"), coords={"t": T}, name="level"
)


def test_names_of_the_package_are_the_public_ones() -> None:
    assert set(dir(xr_modelfit)) == {*xr_modelfit.__all__, "__version__", "tutorial"}
    assert all(hasattr(xr_modelfit, name) for name in dir(xr_modelfit))
    assert xr_modelfit.tutorial is tutorial


def test_a_name_that_is_not_there_is_no_attribute() -> None:
    assert not hasattr(xr_modelfit, "fitt")
    assert not hasattr(DATA.modelfit, "plots")
    assert not hasattr(DATA.to_dataset().modelfit, "_ipython_display_")
    assert getattr(DATA.modelfit, "best_fit", None) is None


# --- completion: what IPython and editors ask


@pytest.mark.parametrize("obj", [DATA, DATA.to_dataset()], ids=["DataArray", "Dataset"])
def test_arguments_are_seen_where_they_can_be_given(obj: Any) -> None:
    arguments = list(inspect.signature(xr_modelfit.fit).parameters)[1:]
    assert list(inspect.signature(obj.modelfit).parameters) == arguments
    assert list(inspect.signature(obj.modelfit.estimate).parameters) == arguments
    assert list(inspect.signature(obj.modelfit.plan).parameters) == [*arguments, "memory"]


def test_signatures_are_short() -> None:
    shown = str(inspect.signature(xr_modelfit.fit))
    assert shown.startswith("(obj, model, dim=None, *, data=None, coords=None, where=None, sigma=None,")
    assert "xarray" not in shown


def test_help_has_each_argument_in_one_group() -> None:
    head = inspect.getdoc(xr_modelfit.fit).split("Parameters\n---")[0].split("groups:")[1]
    assert sorted(re.findall(r"``(\w+)``", head)) == sorted(list(inspect.signature(xr_modelfit.fit).parameters)[1:])


def test_plan_takes_what_its_signature_says() -> None:
    plan = DATA.modelfit.plan(Linear1D(), "t", memory="100 MiB", sigma=0.1, covariance=True)
    assert plan.n_fits == 3


def test_the_fitter_shows_its_options() -> None:
    shown = list(inspect.signature(BatchLSQFitter).parameters)
    assert shown == [one.name for one in fields(BatchLSQFitter)]
    assert {"maxiter", "engine"} <= set(shown)


# --- what is shown


class Text(HTMLParser):
    """The text of well-formed HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def both(obj: Any) -> list[str]:
    """What is shown as text and as HTML, the latter without its tags."""
    return [repr(obj), " ".join(Text(obj._repr_html_()).parts)]


def test_a_result_shows_model_ends_and_questions() -> None:
    fit = DATA.modelfit(Linear1D(), "t")
    for shown in both(fit.modelfit):
        assert "Linear1D, x reads t" in shown
        assert "3 fits, 2 successful (66.7 %): 2 converged, 1 no_data" in shown
        assert ".modelfit.report()" in shown
        assert "object at 0x" not in shown


def test_every_question_that_is_shown_can_be_asked() -> None:
    fit = DATA.modelfit(Linear1D(), "t")
    for obj in (fit, DATA):
        lines = [line for line in repr(obj.modelfit).splitlines() if ".modelfit" in line]
        assert len(lines) > 3
        for line in lines:
            calls = re.sub(r"\([^)]*\)", "", line.strip().removeprefix(".modelfit").split("  ")[0])
            assert all(hasattr(obj.modelfit, name) for name in re.findall(r"[a-z_]+", calls)), line


def test_several_fits_show_which_is_which() -> None:
    ds = xr.Dataset({"low": DATA, "high": DATA + 1})
    shown = repr(ds.modelfit(Linear1D(), "t").modelfit)
    assert "low: Linear1D" in shown
    assert "high: 3 fits" in shown


def test_data_shows_how_to_fit_it() -> None:
    for shown in both(DATA.modelfit):
        assert "station: 3, t: 5" in shown
        assert ".modelfit(model, dim)" in shown
    assert "'level'" in repr(DATA.to_dataset().modelfit)


def test_nothing_is_computed_to_be_shown() -> None:
    def fail(block: np.ndarray) -> np.ndarray:
        raise AssertionError("computed")

    lazy = DATA.chunk(station=1).map_blocks(
        lambda block: block.copy(data=fail(block.values)), template=DATA.chunk(station=1)
    )
    fit = lazy.modelfit(Gaussian1D(), "t")
    for shown in both(fit.modelfit):
        assert "3, not computed yet" in shown


def test_a_result_that_lost_its_record_says_so() -> None:
    fit = DATA.modelfit(Linear1D(), "t")
    fit["fit_status"].attrs = {}
    assert "has no record of the fit" in repr(fit.modelfit)


def test_a_function_that_is_gone_still_has_parameters() -> None:
    fit = DATA.modelfit(lambda t, rate=1.0: rate * t, "t")
    fit["fit_status"].attrs = {
        key: value.replace("<lambda>", "gone") if isinstance(value, str) else value
        for key, value in fit["fit_status"].attrs.items()
    }
    assert "model" in repr(fit.modelfit)
    assert "rate" in repr(fit.modelfit)


def test_names_are_no_markup() -> None:
    odd = DATA.rename("<b>").to_dataset()
    assert "<b>'" not in odd.modelfit._repr_html_().replace("<b>modelfit", "")


def test_fitters_are_tables_in_notebooks() -> None:
    text = Text(BatchLSQFitter(maxiter=7)._repr_html_()).parts
    assert text[:3] == ["BatchLSQFitter", "maxiter", "7"]
