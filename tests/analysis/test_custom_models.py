"""Models and ties of the user's own: found where they were imported with the same code, asked for otherwise."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import gc
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Fittable1DModel, Model, Parameter, custom_model
from astropy.modeling.models import Const1D, Gaussian1D

from xr_modelfit import RecordError, fit
from xr_modelfit.records.registry import find, key_of

pytest.importorskip("netCDF4")

OWN = '''
"""Models of a laboratory."""

import numpy as np
from astropy.modeling import Fittable1DModel, Parameter, custom_model

FACTOR = 2.0


def attenuated(x, rate):
    """Decay to a base."""
    return np.exp(-FACTOR * rate * x)


@custom_model
def decay(x, start=1.0, rate=0.5):
    """Exponential decay."""
    return start * attenuated(x, rate)


def raw(x, start=1.0, rate=0.5):
    return start * np.exp(-rate * x)


Made = custom_model(raw)
Nameless = custom_model(lambda x, start=1.0, rate=0.5: start - rate * x)


class Power(Fittable1DModel):
    """A power law with an exponent that is no parameter."""

    start = Parameter(default=1.0)
    rate = Parameter(default=0.5)
    offset = 0.25

    def __init__(self, *args, power=2, **kwargs):
        self._power = power
        super().__init__(*args, **kwargs)

    def evaluate(self, x, start, rate):
        return start + rate * (x + self.offset) ** self._power


class Family:
    """A class in a class."""

    class Member(Power):
        """Inherits."""


def twice(model):
    """Ties a rate to a start."""
    return 2.0 * model.start


def ways(n):
    """Nothing that an import gives."""

    class Hidden(Fittable1DModel):
        start = Parameter(default=1.0)

        @staticmethod
        def evaluate(x, start):
            return start * x**n

    return Hidden
'''
KINDS = {
    "decorated": "laboratory.decay(2.0, 0.4)",
    "made of a function": "laboratory.Made(2.0, 0.4)",
    "made of a lambda": "laboratory.Nameless(2.0, 0.4)",
    "class": "laboratory.Power(2.0, 0.4)",
    "class with an option": "laboratory.Power(2.0, 0.4, power=3)",
    "class in a class": "laboratory.Family.Member(2.0, 0.4, power=3)",
    "part of a compound": "Gaussian1D(2, 2, 0.5) + laboratory.decay(2.0, 0.4, name='tail')",
    "tied": "laboratory.Made(2.0, 4.0, tied={'rate': laboratory.twice})",
}

ELSEWHERE = """
    import json, sys
    sys.path.insert(0, sys.argv[1])
    import numpy as np
    import xarray as xr
    import xr_modelfit
    from pathlib import Path

    out = {}
    def ask(path):
        result = xr.load_dataset(path)
        try:
            return result.modelfit.evaluate(x=[0.5, 2.0]).values.tolist()
        except xr_modelfit.RecordError as error:
            return str(error)
    paths = sorted(Path(sys.argv[2]).glob("*.nc"))
    before = {path.stem: ask(path) for path in paths}
    assert "laboratory" not in sys.modules
    import laboratory
    after = {path.stem: ask(path) for path in paths}
    ties = {path.stem: str(xr.load_dataset(path).modelfit.to_model().tied) for path in paths if path.stem == "tied"}
    given = xr.load_dataset(Path(sys.argv[2]) / "class.nc").modelfit.evaluate(x=[0.5, 2.0], model=laboratory.Power())
    print(json.dumps([before, after, ties, given.values.tolist()]))
"""


def data_of(model: Model) -> xr.DataArray:
    x = np.linspace(0, 4, 15)
    values = model(x) + np.random.default_rng(1).normal(0, 1e-3, (2, 15))
    return xr.DataArray(values, dims=("star", "x"), coords={"x": x})


def run(code: str, *arguments: Any, **environment: str) -> str:
    """What another interpreter prints, warnings as errors."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_module(folder: Path, text: str = OWN) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "laboratory.py").write_text(text)
    return folder


def load_module(folder: Path) -> types.ModuleType:
    """The module as an import gives it, without what Python may have kept of an earlier text."""
    spec = importlib.util.spec_from_file_location("laboratory", folder / "laboratory.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["laboratory"] = module
    exec(compile((folder / "laboratory.py").read_text(), str(folder / "laboratory.py"), "exec"), vars(module))
    return module


@pytest.fixture
def laboratory(tmp_path: Path) -> Iterator[types.ModuleType]:
    yield load_module(write_module(tmp_path / "original"))
    sys.modules.pop("laboratory", None)


# --- in a new process


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, xr.Dataset], list[dict[str, Any]]]]:
    """Results by kind, and what another process says of their files before and after it imports their module."""
    folder = tmp_path_factory.mktemp("custom")
    laboratory = load_module(write_module(folder / "here"))
    results = {}
    for kind, text in KINDS.items():
        model = eval(text, {"laboratory": laboratory, "Gaussian1D": Gaussian1D})
        results[kind] = fit(data_of(model), model, "x")
        results[kind].to_netcdf(folder / f"{kind}.nc")
    # It lies elsewhere there, and has other comments, docstrings and line numbers.
    moved = OWN.replace('"""Exponential decay."""', '"""To be described."""  # later').replace(
        "import numpy", "\nimport numpy"
    )
    moved = moved.replace('    """Decay to a base."""\n', "").replace("FACTOR = 2.0", "# of two\nFACTOR = 2.0")
    printed = run(ELSEWHERE, write_module(folder / "there", moved), folder)
    yield results, json.loads(printed)
    sys.modules.pop("laboratory", None)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_imported_model_is_found(kind: str, asked: tuple[dict[str, xr.Dataset], list[dict[str, Any]]]) -> None:
    """Before the import it is asked for, and nothing is imported; afterwards it evaluates as here."""
    results, (before, after, _, _) = asked
    assert "Import laboratory first" in before[kind]
    assert "model=" in before[kind]
    np.testing.assert_allclose(after[kind], results[kind].modelfit.evaluate(x=[0.5, 2.0]), rtol=1e-12)


def test_an_imported_tie_is_found(asked: tuple[dict[str, xr.Dataset], list[dict[str, Any]]]) -> None:
    """It stands on the model again."""
    _, (_, _, ties, _) = asked
    assert "<function twice" in ties["tied"]


def test_a_model_that_is_given_serves(asked: tuple[dict[str, xr.Dataset], list[dict[str, Any]]]) -> None:
    """``model=`` needs nothing of the record."""
    results, (_, _, _, given) = asked
    np.testing.assert_allclose(given, results["class"].modelfit.evaluate(x=[0.5, 2.0]), rtol=1e-12)


@pytest.mark.slow
def test_the_key_is_the_same_in_every_process(laboratory: types.ModuleType, tmp_path: Path) -> None:
    """Whatever the hash seed, the optimisation of docstrings and the place of the file."""
    code = """
        import sys
        sys.path.insert(0, sys.argv[1])
        import laboratory
        from xr_modelfit.records.registry import key_of
        for thing in (laboratory.decay, laboratory.Made, laboratory.Power, laboratory.Family.Member, laboratory.twice):
            print(key_of(thing))
    """
    things = laboratory.decay, laboratory.Made, laboratory.Power, laboratory.Family.Member, laboratory.twice
    here = [key_of(thing) for thing in things]
    assert None not in here
    for seed in ("1", "2"):
        assert run(code, tmp_path / "original", PYTHONHASHSEED=seed).split() == here


# --- another code

CHANGED = {
    "a constant in the code": ("start - rate", "start - 2 * rate", "Nameless(2.0, 0.4)"),
    "an operator": ("start * np.exp(-rate * x)", "start / np.exp(-rate * x)", "Made(2.0, 0.4)"),
    "a constant of the module": ("FACTOR = 2.0", "FACTOR = 3.0", "decay(2.0, 0.4)"),
    "a function that it calls": ("np.exp(-FACTOR", "np.exp2(-FACTOR", "decay(2.0, 0.4)"),
    "a constant of the class": ("offset = 0.25", "offset = 0.5", "Power(2.0, 0.4)"),
    "a base class": ("offset = 0.25", "offset = 0.5", "Family.Member(2.0, 0.4)"),
    "the order of its arguments": ("raw(x, start=1.0, rate=0.5)", "raw(x, rate=1.0, start=0.5)", "Made(2.0, 0.4)"),
}


@pytest.mark.filterwarnings("ignore:model is not what was fitted")
@pytest.mark.slow
@pytest.mark.parametrize("what", CHANGED)
def test_changed_code_is_told(what: str, laboratory: types.ModuleType, tmp_path: Path) -> None:
    """A number would look right; ``model=`` takes the new code on the user's word."""
    old, new, text = CHANGED[what]
    model = eval(text, vars(laboratory))
    result = fit(data_of(model), model, "x")
    assert OWN.count(old) >= 1
    del model, laboratory
    later = load_module(write_module(tmp_path / "later", OWN.replace(old, new)))
    gc.collect()
    with pytest.raises(RecordError, match=r"has changed since the fit\. .*model="):
        elsewhere(result).modelfit.evaluate(x=[0.5, 2.0])
    if what != "the order of its arguments":
        assert result.modelfit.evaluate(x=[0.5, 2.0], model=eval(text, vars(later))).notnull().all()


def elsewhere(result: xr.Dataset) -> xr.Dataset:
    """The result where its model was never fitted: nothing is remembered."""
    from xr_modelfit.records import registry as remembered

    remembered._KNOWN.clear()
    return result


def test_what_is_gone_is_told(laboratory: types.ModuleType, tmp_path: Path) -> None:
    """The module is there, the model is not."""
    result = fit(data_of(laboratory.decay(2.0, 0.4)), laboratory.decay(2.0, 0.4), "x")
    load_module(write_module(tmp_path / "later", OWN.replace("def decay", "def renamed")))
    with pytest.raises(RecordError, match=r"holds no 'decay' now\. .*model="):
        elsewhere(result).modelfit.evaluate(x=[0.5])


def test_a_local_class_is_asked_for(laboratory: types.ModuleType) -> None:
    """No import gives it; in its own process it is known."""
    Hidden = laboratory.ways(2)
    result = fit(data_of(Hidden(2.0)), Hidden(2.0), "x")
    assert result.modelfit.evaluate(x=[0.5]).notnull().all()
    with pytest.raises(RecordError, match=r"model="):
        elsewhere(result).modelfit.evaluate(x=[0.5])


def test_local_classes_of_one_name_are_told_apart(laboratory: types.ModuleType) -> None:
    """By what they close over."""
    two, three = laboratory.ways(2), laboratory.ways(3)
    results = [fit(data_of(cls(2.0)), cls(2.0), "x") for cls in (two, three)]
    for n, result in zip((2, 3), results, strict=True):
        np.testing.assert_allclose(result.modelfit.evaluate(x=[2.0]), 2 * 2.0**n, rtol=1e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda key: key.rsplit(":", 2)[0] + ":0123456789abcdef", "no digest of its code"),  # as once written
        (lambda key: key.rsplit(":", 2)[0], "no digest of its code"),
        (lambda key: key.replace(":py3.", ":py2."), "fitted under py2"),
    ],
)
def test_a_record_of_another_time(change: Callable[[str], str], message: str, laboratory: types.ModuleType) -> None:
    """Of an older version, and of another Python: not compared, asked for."""
    result = fit(data_of(laboratory.decay(2.0, 0.4)), laboratory.decay(2.0, 0.4), "x")
    record = json.loads(result["fit_status"].attrs["modelfit_record"])
    record["model"]["custom"] = change(record["model"]["custom"])
    result["fit_status"].attrs["modelfit_record"] = json.dumps(record)
    with pytest.raises(RecordError, match=f"{message}.*model="):
        result.modelfit.evaluate(x=[0.5])
    assert result.modelfit.evaluate(x=[0.5], model=laboratory.decay()).notnull().all()


def test_a_module_that_waits_for_its_first_use_goes_on_waiting(tmp_path: Path) -> None:
    """Python can import lazily; looking a model up must not set that off."""
    (tmp_path / "waiting.py").write_text("from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\n")
    spec = importlib.util.spec_from_file_location("waiting", tmp_path / "waiting.py")
    assert spec is not None
    assert spec.loader is not None
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules["waiting"] = module
    spec.loader.exec_module(module)
    with pytest.raises(LookupError, match="holds no 'Model'"):
        find("waiting:Model:py3.11:0123456789abcdef")
    assert not (tmp_path / "waiting.ran").exists()
    sys.modules.pop("waiting")


SCRIPT = """
import sys
import xarray as xr
import xr_modelfit
from astropy.modeling import custom_model

@custom_model
def decay(x, start=1.0, rate=0.5):
    return start * 2.0 ** (-rate * x)

if sys.argv[2] == "fit":
    x = xr.DataArray([0.0, 1.0, 2.0, 3.0], dims="x")
    (3 * 2.0 ** (-0.4 * x)).assign_coords(x=x).modelfit(decay(2.0), dim="x").to_netcdf(sys.argv[1])
else:
    print(xr.load_dataset(sys.argv[1]).modelfit.evaluate(x=[1.0]).values.tolist())
"""


@pytest.mark.slow
def test_a_script_knows_its_own_model_again(tmp_path: Path) -> None:
    """A model of ``__main__``: found by the same script, asked for by any other process."""
    (tmp_path / "analysis.py").write_text(SCRIPT)
    path = tmp_path / "fit.nc"
    for step in ("fit", "evaluate"):
        command = [sys.executable, "-W", "error", str(tmp_path / "analysis.py"), str(path), step]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), 3 * 2.0**-0.4, rtol=1e-6)
    with pytest.raises(RecordError, match=r"__main__.*'decay'.*model="):
        xr.load_dataset(path).modelfit.evaluate(x=[1.0])


# --- what a model holds besides its parameters


class Option(Fittable1DModel):
    """Options of every kind."""

    start = Parameter(default=1.0)

    def __init__(self, *args: Any, option: Any = 2, **kwargs: Any) -> None:
        self._option = option
        super().__init__(*args, **kwargs)

    def evaluate(self, x, start):
        return start * x ** np.sum(self._option)


class Needed(Option):
    """An option that the constructor insists on, and does not keep under its name."""

    def __init__(self, option: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, option=option, **kwargs)


@pytest.mark.parametrize("option", [2, 3, 1.5, True, np.float64(0.5)], ids=repr)
def test_plain_options_are_kept(option: Any) -> None:
    """Even those that the constructor keeps under another name: dropped, they gave numbers that look right."""
    result = fit(data_of(Option(2.0, option=option)), Option(1.5, option=option), "x")
    np.testing.assert_allclose(result.modelfit.evaluate(x=[3.0]), 2.0 * 3.0 ** float(option), rtol=1e-2)
    np.testing.assert_allclose(result.isel(star=0).modelfit.to_model()(3.0), 2.0 * 3.0 ** float(option), rtol=1e-2)


def changed_later() -> Model:
    model = Option(1.5)
    model.extra = np.arange(3.0)
    return model


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Option(1.5, option=np.array([1.0, 2.0])), "_option"),
        (lambda: Option(1.5, option=[1, 2]), "_option"),
        (lambda: Needed(3, 1.5), "arguments of its constructor"),
        (changed_later, "extra"),
        (lambda: Const1D(1) + Option(1.5, option=(1, 2)), "_option"),
    ],
)
def test_what_is_lost_is_asked_for(make: Callable[[], Model], what: str) -> None:
    """Never evaluated without it, not even in the process that fitted."""
    model = make()
    result = fit(data_of(model), model, "x")
    for method in (lambda: result.modelfit.evaluate(x=[3.0]), result.modelfit.to_model):
        with pytest.raises(RecordError, match=rf"{what}.*model="):
            method()
    one = result.isel(star=0).modelfit.to_model(model=model)
    np.testing.assert_allclose(result.modelfit.evaluate(x=[3.0], model=model)[0], one(np.array([3.0])), rtol=1e-12)


# --- keys


def closing(value: Any) -> Callable[[Any], Any]:
    return lambda model: model.a * value


def defaulting(value: Any) -> Callable[[Any], Any]:
    return lambda model, given=value: model.a * given


class Caller:
    """A tie that is an object."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, model: Any) -> Any:
        return model.a * self.value


@pytest.mark.parametrize("make", [closing, defaulting, Caller])
@pytest.mark.parametrize("value", [2.0, "text", (1, 2), {"a": 1}, {1, 2}, np.arange(3.0), None], ids=repr)
def test_keys_tell_values_apart(make: Callable[[Any], Any], value: Any) -> None:
    """The same of the same values, another of others."""
    assert key_of(make(value)) == key_of(make(value)) is not None
    assert key_of(make(value)) != key_of(make(3.5))


def test_what_has_no_code_has_no_key() -> None:
    """It is then asked for."""
    assert key_of(closing(i for i in ())) is None
    with pytest.raises(LookupError):
        find(None)


@custom_model
def ticking(x, a=1.0):
    """Uses something that changes."""
    global COUNT
    COUNT += 1
    return a * x


COUNT = 0


def test_a_model_whose_globals_change_is_known_in_its_process() -> None:
    """It is remembered, not compared."""
    result = fit(data_of(ticking(2.0)), ticking(1.0), "x")
    np.testing.assert_allclose(result.modelfit.evaluate(x=[3.0]), 6.0, rtol=1e-2)
