"""Plain functions as models: right values, whatever kind of callable they are, and found again afterwards."""

from __future__ import annotations

import functools
import gc
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling import Model, custom_model
from astropy.modeling.fitting import TRFLSQFitter
from astropy.modeling.models import Const1D, Linear1D
from scipy.optimize import curve_fit

from xr_modelfit import BatchLSQFitter, RecordError, fit
from xr_modelfit.models.function_models import as_model

T = np.linspace(0, 5, 40)
TRUE = np.array([[3.0, 1.5], [2.0, 0.8], [5.0, 3.0]])
NOISE = 0.05
TIGHT = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14}


def decay(t, a=1.0, tau=2.0):
    """An exponential decay."""
    return a * np.exp(-t / tau)


def bare(t, a, tau):
    return a * np.exp(-t / tau)


def with_options(t, power=None, a=1.0, scale="linear", tau=2.0, *, where=True, level=0.0, **others):
    assert (power, scale, where, level, others) == (None, "linear", True, 0.0, {})
    return decay(t, a, tau)


def powered(t, n, a=1.0, tau=2.0):
    return a * np.exp(-t / tau) ** n


def scaled(t, n, a, tau):
    return n * decay(t, a, tau)


def annotated(t: np.ndarray, a: float = 1, tau: np.float64 = np.float64(2)) -> np.ndarray:  # noqa: B008
    return decay(t, a, tau)


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return inner


class Instrument:
    """Holds what a model needs besides its parameters."""

    def __init__(self, gain: float) -> None:
        self.gain, self.calls = gain, 0

    def __call__(self, t, a=1.0, tau=2.0):
        self.calls += 1
        return self.gain * decay(t, a, tau)

    def seen(self, t, a=1.0, tau=2.0):
        return self.gain * decay(t, a, tau)

    @classmethod
    def plain(cls, t, a=1.0, tau=2.0):
        return decay(t, a, tau)


def data() -> xr.DataArray:
    noise = np.random.default_rng(3).normal(0, NOISE, (3, 40))
    values = decay(T, TRUE[:, :1], TRUE[:, 1:]) + noise
    return xr.DataArray(values, dims=("star", "t"), coords={"t": T}, name="flux")


@functools.cache
def expected() -> tuple[np.ndarray, np.ndarray]:
    """Parameters and errors by `scipy.optimize.curve_fit`."""
    found = [
        curve_fit(decay, T, y, [1.0, 2.0], np.full(40, NOISE), absolute_sigma=True, **TIGHT) for y in data().values
    ]
    return np.array([p for p, _ in found]), np.array([np.sqrt(np.diag(C)) for _, C in found])


def check(result: xr.Dataset, gain: float = 1.0) -> None:
    """Both stop at the minimum: parameters within 1e-4 of their errors, which curve_fit has to 1e-4 by differences."""
    right, errors = expected()
    for j, (name, by) in enumerate({"a": gain, "tau": 1.0}.items()):
        assert (result["fit_status"] > 0).all()
        np.testing.assert_allclose(result[name] * by, right[:, j], rtol=0, atol=1e-4 * errors[:, j].min())
        np.testing.assert_allclose(result[f"{name}_stderr"] * by, errors[:, j], rtol=1e-4)


def engine_of(result: xr.Dataset) -> str:
    return str(json.loads(result["fit_status"].attrs["modelfit_record"])["engine"])


# --- kinds of functions

KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "function": (decay, {}),
    "lambda": (lambda t, a=1, tau=2: a * np.exp(-t / tau), {}),
    "no defaults": (bare, {"p0": {"a": 1, "tau": 2}}),
    "no defaults, map": (bare, {"p0": {"a": xr.DataArray([1.0, 2.0, np.e], dims="star"), "tau": 2}}),
    "no defaults, lazy map": (bare, {"p0": {"a": xr.DataArray([1.0] * 3, dims="star").chunk(), "tau": 2}}),
    "no defaults, bounds": (bare, {"bounds": {"a": (0, 8), "tau": (0.1, None)}}),
    "a default of None": (lambda t, a=None, tau=2.0: decay(t, a, tau), {"p0": {"a": 1.5}}),
    "options": (with_options, {}),
    "partial by name": (functools.partial(powered, n=1), {}),
    "partial by name, no defaults": (functools.partial(scaled, n=1), {"p0": {"a": 1, "tau": 2}}),
    "partial by position": (functools.partial(lambda n, t, a=1.0, tau=2.0: powered(t, n, a, tau), 1), {}),
    "partial of a partial": (functools.partial(functools.partial(with_options, level=0.0), power=None), {}),
    "class method": (Instrument.plain, {}),
    "annotated": (annotated, {}),
    "decorated": (decorated(decay), {}),
    "positional only": (lambda t, option=None, a=1.0, tau=2.0, /: decay(t, a, tau), {}),
    "keyword only, with a start": (lambda t, a=1.0, *, tau: decay(t, a, tau), {"p0": {"tau": 2.0}}),
    "parameter before the input": (lambda a, t, tau: decay(t, a, tau), {"p0": {"a": 1, "tau": 2}}),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind: str, engine: str) -> None:
    """As scipy fits them, in both engines; the result evaluates without help."""
    function, options = KINDS[kind]
    result = fit(data(), function, "t", sigma=NOISE, fitter=BatchLSQFitter(engine=engine), **options)
    check(result)
    assert engine_of(result) == engine
    gc.collect()
    a, tau = (result[n].values[:, None] for n in ("a", "tau"))
    np.testing.assert_allclose(result.modelfit.evaluate(t=T), decay(T, a, tau), rtol=1e-12)


def test_objects_and_their_methods() -> None:
    """What the object holds is what it is when the function is called."""
    check(fit(data(), Instrument(2.0), "t", sigma=NOISE), gain=2.0)
    one = Instrument(4.0)
    check(fit(data(), one.seen, "t", sigma=NOISE), gain=4.0)
    check(fit(data(), one, "t", sigma=NOISE), gain=4.0)
    assert one.calls > 0
    one.gain = 0.5
    check(fit(data(), one.seen, "t", sigma=NOISE), gain=0.5)
    check(fit(data(), one, "t", sigma=NOISE), gain=0.5)


def test_a_closure_may_change() -> None:
    gain = 2.0

    def seen(t, a=1.0, tau=2.0):
        return gain * decay(t, a, tau)

    for gain in (2.0, 3.0):
        check(fit(data(), seen, "t", sigma=NOISE), gain=gain)


def test_a_function_that_numpy_calls_for_each_sample() -> None:
    """`numpy.vectorize` hides the arguments of its function; they are found."""
    check(fit(data(), np.vectorize(lambda t, a=1.0, tau=2.0: a * 2.718281828459045 ** (-t / tau)), "t", sigma=NOISE))


def test_a_function_with_an_if() -> None:
    """It takes one sample at a time, and cannot be traced: fitted all the same, one by one where it has to be."""

    def broken(t, level=1.0, slope=0.5):
        return np.array([level if x < 2 else level + slope * (x - 2) for x in np.ravel(t)]).reshape(np.shape(t))

    values = broken(T, 2.0, 0.25)
    result = fit(xr.DataArray(values, dims="t", coords={"t": T}), broken, "t")
    np.testing.assert_allclose([result["level"], result["slope"]], [2.0, 0.25], rtol=1e-8)  # no noise


def test_a_line_is_that_of_the_closed_form() -> None:
    """Linear in its parameters, so that the answer has one, to rounding."""
    result = fit(data(), lambda t, slope=1, level=0: slope * t + level, "t")
    slopes, levels = np.polyfit(T, data().values.T, 1)
    np.testing.assert_allclose(result["slope"], slopes, rtol=1e-10)
    np.testing.assert_allclose(result["level"], levels, rtol=1e-10)
    assert result["n_iter"].max() <= 1


def test_defaults_with_units() -> None:
    """A Quantity as default is a start with a unit, as astropy has it."""
    labelled = data().assign_attrs(units="mJy").assign_coords(t=("t", T, {"units": "s"}))

    def timed(t, a=1 * u.Jy, tau=2000 * u.ms):
        return a * np.exp(-t / tau)

    result = fit(labelled, timed, "t", sigma=NOISE)
    assert (result["a"].attrs["units"], result["tau"].attrs["units"]) == ("Jy", "ms")
    check(
        result.assign(
            {n: result[n] * f for n, f in {"a": 1e3, "a_stderr": 1e3, "tau": 1e-3, "tau_stderr": 1e-3}.items()}
        )
    )


def test_units_follow_from_labels() -> None:
    labelled = data().assign_attrs(units="mJy").assign_coords(t=("t", T, {"units": "s"}))
    result = fit(labelled, bare, "t", sigma=NOISE, p0={"a": 1e-3 * u.Jy, "tau": 2 * u.s})
    assert (result["a"].attrs["units"], result["tau"].attrs["units"]) == ("Jy", "s")
    check(result.assign(a=result["a"] * 1e3, a_stderr=result["a_stderr"] * 1e3))


# --- wherever a model is taken


def test_all_ways_to_call() -> None:
    """Function and accessor, Dataset with and without ``data``, an earlier result as start, a plan."""
    ds = data().to_dataset()
    check(data().modelfit(decay, "t", sigma=NOISE))
    check(ds.modelfit(decay, "t", data="flux", sigma=NOISE))
    several = ds.modelfit(bare, "t", sigma=NOISE, p0={"a": 1, "tau": 2})
    check(several.rename({n: str(n).removeprefix("flux_") for n in several.data_vars}))
    check(data().modelfit(bare, "t", sigma=NOISE, p0=data().modelfit(decay, "t")))
    check(data().modelfit(bare, "t", sigma=NOISE, p0=several))
    starts = xr.Dataset({"a": 1.0, "tau": 2.0, "gain": ("star", [1.0, 2.0, 4.0])})
    gained = (data() * starts["gain"]).modelfit(
        lambda t, gain, a, tau: gain * bare(t, a, tau), "t", sigma=NOISE * starts["gain"], p0=starts,
        coords={"t": "t", "gain": starts["gain"]},
    )  # fmt: skip
    check(gained)  # what coords names is read, though p0 has it too
    check(data().modelfit(decay, coords="t", sigma=NOISE))
    plan = data().modelfit.plan(bare, "t", p0={"a": 1, "tau": 2})
    assert plan.n_fits == 3


def test_other_fitters() -> None:
    check(fit(data(), decay, "t", sigma=NOISE, fitter=TRFLSQFitter()))


def test_fixed_and_bounded() -> None:
    """Equal bounds fix a parameter, since a function has no constraints of its own."""
    result = fit(data(), decay, "t", bounds={"tau": (2.0, 2.0)})
    assert (result["tau"] == 2.0).all()
    basis = np.exp(-T / 2.0)
    np.testing.assert_allclose(result["a"], data().values @ basis / (basis @ basis), rtol=1e-10)  # closed form


@pytest.mark.slow
@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
@pytest.mark.parametrize("kind", ["function", "lambda", "partial by name", "options", "object"])
def test_schedulers(kind: str, scheduler: str) -> None:
    """Lazy and computed; processes get the function by cloudpickle."""
    function = Instrument(1.0) if kind == "object" else KINDS[kind][0]
    lazy = fit(data().chunk(star=1), function, "t", sigma=NOISE)
    check(lazy.compute(scheduler=scheduler))
    check(fit(data(), function, "t", sigma=NOISE, scheduler=scheduler, fits_per_chunk=1))


@pytest.mark.filterwarnings("ignore:model is not what was fitted")  # other code that gives the same values
@pytest.mark.parametrize("given", [decay, lambda t, a, tau: decay(t, a, tau), Instrument(1.0)])
def test_questions_with_the_function_given(given: Any) -> None:
    """Every method that takes ``model=`` takes a function, where the record cannot give it."""
    result = fit(data(), decay, "t", sigma=NOISE, covariance=True)
    known = result.modelfit.evaluate(data())
    forgotten = result.copy()
    text = forgotten["fit_status"].attrs["modelfit_record"].replace(":decay:", ":gone:")
    forgotten["fit_status"].attrs["modelfit_record"] = text
    ask = forgotten.modelfit
    with pytest.raises(RecordError, match="model="):
        ask.evaluate(data())
    xr.testing.assert_identical(ask.evaluate(data(), model=given), known)
    xr.testing.assert_identical(ask.residuals(data(), model=given), result.modelfit.residuals(data()))
    (part,) = ask.components(data(), model=given).values()
    xr.testing.assert_equal(part, known)
    predicted = ask.predict(data(), model=given)
    xr.testing.assert_allclose(predicted, result.modelfit.predict(data()))
    half = ask.derived(model=given, half=lambda tau: tau * np.log(2))
    np.testing.assert_allclose(half["half"], result["tau"] * np.log(2), rtol=1e-12)
    one = forgotten.isel(star=0).modelfit.to_model(model=given)
    np.testing.assert_allclose(one(T), known[0], rtol=1e-12)


@pytest.mark.filterwarnings("ignore:.*deprecated - use:DeprecationWarning:matplotlib")  # 3.8 with a newer pyparsing
@pytest.mark.filterwarnings("ignore:.*argument is deprecated, use:DeprecationWarning:matplotlib")
def test_a_picture_with_the_function_given() -> None:
    pytest.importorskip("matplotlib")
    result = fit(data(), decay, "t", sigma=NOISE)
    picture = data().modelfit.plot_fit(result, star=0, model=decay)
    assert "model" in picture.artists
    import matplotlib.pyplot as plt

    plt.close("all")


def test_another_function_is_refused() -> None:
    result = fit(data(), decay, "t")
    with pytest.raises(RecordError, match=r"'height', 'tau', but the fit had 'a', 'tau'"):
        result.modelfit.evaluate(data(), model=lambda t, height=1.0, tau=2.0: t)
    with pytest.raises(RecordError, match=r"inputs 't', 'lsf', but the fit read 't'"):
        result.modelfit.evaluate(data(), model=lambda t, lsf, a=1.0, tau=2.0: t)
    with pytest.raises(TypeError, match=r"the class Linear1D; pass an instance, Linear1D\("):
        result.modelfit.evaluate(data(), model=Linear1D)


def test_the_model_of_a_result() -> None:
    """An astropy model, which can be called, and put together with others; also of an annotated function."""
    for function in (decay, annotated):
        one = fit(data(), function, "t").isel(star=0)
        model = one.modelfit.to_model()
        assert isinstance(model, Model)
        assert (type(model).__name__, model.param_names) == (function.__name__, ("a", "tau"))
        np.testing.assert_allclose(model(T), decay(T, one["a"].item(), one["tau"].item()), rtol=1e-12)
        again = fit(data(), model + Const1D(0.0), "t")
        assert (again["fit_status"] > 0).all()


# --- the record


def test_the_name_of_the_function_is_told() -> None:
    result = fit(data(), decay, "t")
    assert "decay" in result.attrs["history"]
    assert result["a"].attrs["long_name"] == "a of decay"


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, "object", "method"])
def test_round_trip_in_the_same_process(kind: str, tmp_path: Path) -> None:
    """Whatever it is: a function or object that is still there, and a lambda of which only the result is left."""
    pytest.importorskip("netCDF4")
    own = {"object": Instrument(1.0), "method": Instrument(1.0).seen}
    function, options = (own[kind], {}) if kind in own else KINDS[kind]
    result = fit(data(), function, "t", **options)
    result.to_netcdf(tmp_path / "fit.nc")
    gc.collect()
    back = xr.load_dataset(tmp_path / "fit.nc")
    xr.testing.assert_identical(back, result)
    np.testing.assert_array_equal(back.modelfit.evaluate(t=T), result.modelfit.evaluate(t=T))


def test_a_lambda_that_nobody_keeps(tmp_path: Path) -> None:
    pytest.importorskip("netCDF4")
    fit(data(), lambda t, a=1.0, tau=2.0: a * np.exp(-t / tau), "t").to_netcdf(tmp_path / "fit.nc")
    gc.collect()
    back = xr.load_dataset(tmp_path / "fit.nc")
    assert back.modelfit.evaluate(t=T).notnull().all()


LABORATORY = '''
import numpy as np

FACTOR = 1.0


def decay(t, a=1.0, tau=2.0):
    return FACTOR * a * np.exp(-t / tau)


def bare(t, a, tau):
    """No defaults."""
    return FACTOR * a * np.exp(-t / tau)


nameless = lambda t, a=1.0, tau=2.0: a * np.exp(-t / tau)
'''
FITTING = """
    import functools, sys
    sys.path.insert(0, sys.argv[1])
    import numpy as np, xarray as xr, xr_modelfit, laboratory as lab

    class Holder:
        def __call__(self, t, a=1.0, tau=2.0):
            return lab.decay(t, a, tau)

    t = np.linspace(0, 5, 40)
    da = xr.DataArray(3 * np.exp(-t / 1.5), dims="t", coords={"t": t})
    start = {"p0": {"a": 1, "tau": 2}}
    kinds = {"decay": (lab.decay, {}), "bare": (lab.bare, start), "nameless": (lab.nameless, {}),
             "partial": (functools.partial(lab.decay), {}), "object": (Holder(), {}),
             "local": (lambda t, a=1.0, tau=1.0: a * np.exp(-t / tau), {})}
    for name, (function, options) in kinds.items():
        da.modelfit(function, "t", **options).to_netcdf(f"{sys.argv[2]}/{name}.nc")
"""
ASKING = """
    import json, sys
    sys.path.insert(0, sys.argv[1])
    import xarray as xr, xr_modelfit
    from pathlib import Path
    out = {}
    def ask():
        for path in sorted(Path(sys.argv[2]).glob("*.nc")):
            try:
                yield path.stem, xr.load_dataset(path).modelfit.evaluate(t=[1.5]).item()
            except xr_modelfit.RecordError as error:
                yield path.stem, str(error)
    before = dict(ask())
    import laboratory
    given = xr.load_dataset(Path(sys.argv[2]) / "local.nc").modelfit.evaluate(t=[1.5], model=laboratory.bare).item()
    print(json.dumps([before, dict(ask()), given]))
"""


def run(code: str, *arguments: Any) -> str:
    told = "ignore:model is not what was fitted:UserWarning"
    command = [sys.executable, "-W", "error", "-W", told, "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_in_another_process(tmp_path: Path) -> None:
    """A function of a module is found once that is imported, if its code is the same; all else is asked for."""
    pytest.importorskip("netCDF4")
    for name, text in {"here": LABORATORY, "changed": LABORATORY.replace("FACTOR = 1.0", "FACTOR = 2.0")}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "laboratory.py").write_text(text)
    run(FITTING, tmp_path / "here", tmp_path)
    right = 3 * np.exp(-1.0)
    before, after, given = json.loads(run(ASKING, tmp_path / "here", tmp_path))
    assert given == pytest.approx(right, rel=1e-6)  # no noise
    for name in ("decay", "bare", "nameless"):
        assert "Import laboratory first" in before[name]
        assert after[name] == pytest.approx(right, rel=1e-6)
    for asked in (before, after):
        assert "a functools.partial, which is known in its own process alone. Pass it: model=" in asked["partial"]
        assert "an object, a Holder" in asked["object"]
        assert "Pass it: model=" in asked["local"]
    _, changed, _ = json.loads(run(ASKING, tmp_path / "changed", tmp_path))
    assert "laboratory:decay has changed since the fit" in changed["decay"]
    assert "laboratory:bare has changed since the fit" in changed["bare"]
    assert changed["nameless"] == pytest.approx(right, rel=1e-6)


def test_no_code_without_its_key() -> None:
    """The record of a function whose key is another's does not run that."""
    result = fit(data(), decay, "t")
    text = result["fit_status"].attrs["modelfit_record"]
    record = json.loads(text)
    record["model"]["custom"] = "os:system:" + ":".join(record["model"]["custom"].split(":")[2:])
    result["fit_status"].attrs["modelfit_record"] = json.dumps(record)
    with pytest.raises(RecordError, match="model="):
        result.modelfit.evaluate(data())


# --- the class


def test_the_same_function_gives_the_same_class() -> None:
    """So that what was found out about the model is known at the next call."""
    one = Instrument(1.0)
    for function in (decay, one, one.seen, KINDS["partial by name"][0]):
        assert type(as_model(function)) is type(as_model(function))
    assert type(as_model(one.seen)) is type(as_model(one.seen))  # two objects, of one method
    assert type(as_model(one.seen)) is not type(as_model(Instrument(1.0).seen))
    starts = {"a": 1.0, "tau": 2.0}
    assert type(as_model(bare, starts)) is type(as_model(bare, starts | {"a": 5.0}))
    assert as_model(bare, starts | {"a": 5.0}).a == 5.0
    assert type(as_model(bare, {"tau": 1.0})) is not type(as_model(bare, starts))


def test_functions_are_let_go() -> None:
    """The last ones are kept, and no more."""
    import weakref

    first = lambda t, a=1.0: a * t  # noqa: E731
    gone = weakref.ref(first)
    as_model(first)
    del first
    for _ in range(40):
        as_model(lambda t, a=1.0: a * t)
    gc.collect()
    assert gone() is None


def test_a_function_that_was_edited_in_place() -> None:
    """As IPython's autoreload does it: the class is that of the new arguments."""

    def first(t, a=1.0):
        return a * t

    def second(t, a=2.0, b=1.0):
        return a * t + b

    assert as_model(first).param_names == ("a",)
    first.__code__, first.__defaults__ = second.__code__, second.__defaults__
    assert as_model(first).param_names == ("a", "b")
    assert as_model(first)(2.0) == 5.0


def test_nothing_is_changed() -> None:
    """Neither the function nor its object gets an attribute."""
    one = Instrument(1.0)
    before = dict(vars(decay)), {k: v for k, v in vars(one).items() if k != "calls"}
    fit(data(), decay, "t"), fit(data(), one, "t")
    assert before == (dict(vars(decay)), {k: v for k, v in vars(one).items() if k != "calls"})


# --- wrong calls


def keyword_only(t, *, a=1.0, tau=2.0):
    return decay(t, a, tau)


WRONG: dict[str, tuple[Any, dict[str, Any], type[Exception], list[str]]] = {
    "a name": ("gauss", {}, TypeError, ["'gauss'", "def decay(t, a=1.0, tau=2.0)", "instance of an astropy model"]),
    "the dim first": ("t", {}, TypeError, ["'t', a dim of the data", "comes first"]),
    "swapped": ("t", {"dim": decay}, TypeError, ["comes first", "data.modelfit(decay, 't')"]),
    "swapped, astropy": ("t", {"dim": Linear1D()}, TypeError, ["comes first", "data.modelfit(Linear1D, 't')"]),
    "a class of astropy": (Linear1D, {}, TypeError, ["class Linear1D", "pass an instance, Linear1D(...)"]),
    "another class": (Instrument, {}, TypeError, ["class Instrument", "pass an instance, Instrument(...)"]),
    "a ufunc": (np.exp, {}, TypeError, ["ufunc (exp)", "def decay(t, a=1.0, tau=2.0)", "custom_model(decay)()"]),
    "a builtin": (max, {}, TypeError, ["(max), whose arguments cannot be read", "def decay(t", "custom_model"]),
    "no names": (lambda *args: args, {}, TypeError, ["takes *args", "Write them out: def decay", "functools.wraps"]),
    "no parameters": (lambda t: t, {}, ValueError, ["no parameters", "'t' is its input", "def decay"]),
    "options alone": (keyword_only, {}, ValueError, ["no parameters", "'a' is an option (it is keyword-only)"]),
    "no defaults": (bare, {}, ValueError, ["no parameters", "'t', 'a', 'tau'", "p0={'a': ..., 'tau': ...}",
        "def bare(t, a=1.0, tau=1.0)", "coords={'a': ...}"]),
    "one left": (bare, {"p0": {"a": 1}}, ValueError, ["'tau'", "p0={'tau': ...}", "coords={'tau': ...}"]),
    "one left, another name": (lambda x, a, tau: x, {"p0": {"a": 1}}, ValueError,
        ["'tau'", "p0={'tau': ...}", "coords={'x': ..., 'tau': ...}"]),
    "two left": (lambda t, a, b, c: t, {"p0": {"a": 1}}, ValueError,
        ["p0={'b': ..., 'c': ...}", "coords={'b': ..., 'c': ...}"]),
    "no input": (lambda t=1.0, a=1.0: a * t, {}, ValueError, ["has no input", "without a default"]),
    "a start for the input": (bare, {"p0": {"t": 1, "a": 1, "tau": 1}}, ValueError, ["has no input"]),
    "an option in p0": (with_options, {"p0": {"level": 1}}, ValueError, ["'level'", "it is keyword-only", "level=1.0"]),
    "a text in p0": (with_options, {"p0": {"scale": 1}}, ValueError, ["'scale'", "its default is 'linear'"]),
    "a bound one in p0": (functools.partial(powered, n=1), {"p0": {"n": 1}}, ValueError,
        ["'n'", "functools.partial binds it"]),
    "keyword-only, no default": (lambda t, a=1.0, *, w: t, {}, ValueError,
        ["needs 'w'", "functools.partial(", "p0={'w': ...}"]),
    "taken": (lambda t, linear=1.0: linear * t, {}, ValueError, ["'linear'", "for example linear_0"]),
    "a list in p0": (bare, {"p0": [1, 2]}, TypeError, ["p0 is a list", "{parameter: number or DataArray}"]),
    "a start and a coordinate": (lambda t, w, a=1.0: t, {"p0": {"w": 1}, "coords": {"t": "t", "w": "t"}}, ValueError,
        ["p0 has the key 'w'", "'a'"]),
    "an unknown parameter": (decay, {"p0": {"rate": 1}}, ValueError, ["'rate'", "'a', 'tau'"]),
    "custom_model without defaults": (custom_model(bare)(), {}, ValueError,
        ["bare has no parameters", "def bare(t, a=1.0, tau=1.0)", "p0={'a': ..., 'tau': ...}"]),
    "an infinite default": (lambda t, a=np.inf: a * t, {}, ValueError, ["'a' is inf", "p0={'a': ...}"]),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_wrong_functions(what: str) -> None:
    """Each says what was got and what to do."""
    model, options, kind, words = WRONG[what]
    call = {"dim": "t"} | options
    with pytest.raises(kind) as caught:
        data().modelfit(model, **call)
    for word in words:
        assert word in str(caught.value)
    with pytest.raises(kind):
        data().chunk(star=1).modelfit(model, **call)


@pytest.mark.parametrize(
    "call",
    [
        lambda da: da.modelfit(dim="t"),
        lambda da: da.modelfit(),
        lambda da: da.to_dataset().modelfit(dim="t"),
        lambda da: da.modelfit.plan(dim="t"),
        lambda da: fit(da, None, "t"),
    ],
)
def test_no_model(call: Callable[[xr.DataArray], Any]) -> None:
    with pytest.raises(
        TypeError, match=r"model is missing\. It comes first, data\.modelfit\(model, dim\).*Polynomial1D"
    ):
        call(data())


def test_the_degree_of_a_polynomial_in_place_of_a_model() -> None:
    with pytest.raises(TypeError, match=r"'deg'.*Polynomial1D\(degree=2\), the first argument"):
        data().modelfit(deg=1)


# --- real and imaginary part together


def test_complex_data_are_pooled() -> None:
    """Both parts in one fit, as `scipy.optimize.curve_fit` fits them in a row."""
    omega = np.linspace(0.1, 20, 30)
    noise = np.random.default_rng(2).normal(0, 0.01, (2, 30))
    response = 2.0 / (1 + 1j * omega * 0.3) + noise[0] + 1j * noise[1]
    spectrum = xr.DataArray(response, dims="omega", coords={"omega": omega})
    with pytest.raises(
        TypeError, match=r"holds complex128.*xr\.concat.*\"part\".*np\.where\(part == 0, z\.real, z\.imag\)"
    ):
        spectrum.modelfit(decay, "omega")
    parts = xr.concat([spectrum.real, spectrum.imag], xr.Variable("part", [0, 1]))

    def debye(omega, part, strength=1.0, tau=1.0):
        z = strength / (1 + 1j * omega * tau)
        return np.where(part == 0, z.real, z.imag)

    result = parts.modelfit(debye, ("omega", "part"), sigma=0.01)
    assert result["dof"] == 58
    x, p = np.tile(omega, 2), np.repeat([0, 1], 30)
    y = np.concatenate([response.real, response.imag])
    right, C = curve_fit(
        lambda _, s, t: debye(x, p, s, t), x, y, [1, 1], np.full(60, 0.01), absolute_sigma=True, **TIGHT
    )
    errors = np.sqrt(np.diag(C))
    for name, value, error in zip(("strength", "tau"), right, errors, strict=True):
        assert abs(result[name].item() - value) < 1e-4 * error  # both at the minimum
        assert result[f"{name}_stderr"].item() == pytest.approx(error, rel=1e-4)  # its derivatives are differences
