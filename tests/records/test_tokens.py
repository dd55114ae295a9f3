"""Lazy values of a model: dask tells them apart by the content of the model, and pickles none of it."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import subprocess
import sys
import threading
from typing import Any

import cloudpickle
import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Fittable1DModel, Parameter, custom_model
from astropy.modeling import models as M
from numpy.testing import assert_allclose

X = np.arange(8.0)


def data() -> xr.DataArray:
    return xr.DataArray(2.0 * X + np.array([[1.0], [3.0]]), dims=("p", "x"), coords={"x": X}).chunk(p=1)


def line(times: float) -> type:
    class Line(Fittable1DModel):
        a = Parameter(default=1.0)
        b = Parameter(default=0.0)

        @staticmethod
        def evaluate(x: Any, a: Any, b: Any) -> Any:
            return times * a * x + b

    return Line


def names(fit: xr.Dataset, **options: Any) -> list[str]:
    """What dask calls the values and their errors."""
    predicted = fit.modelfit.predict(data(), **options)
    arrays = [fit.modelfit.evaluate(data(), **options), *predicted.data_vars.values()]
    return [array.data.name for array in arrays]


def fitted(model: Any) -> xr.Dataset:
    return data().compute().modelfit(model, "x", covariance=True, sigma=0.1).chunk()


MODELS: dict[str, Any] = {
    "astropy": M.Linear1D(1, 0),
    "sum": M.Linear1D(1, 0) + M.Const1D(0, fixed={"amplitude": True}),
    "class": line(1.0)(),
    "custom": custom_model(lambda x, a=1.0, b=0.0: a * x + b)(),
    "function": lambda x, a=1.0, b=0.0: a * x + b,
    "product with a class": M.Const1D(1, fixed={"amplitude": True}) * line(1.0)(),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_same_content_has_the_same_name_and_nothing_is_pickled(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = fitted(model)

    def refuse(*_: Any, **__: Any) -> bytes:
        raise AssertionError("pickled")

    monkeypatch.setattr(cloudpickle, "dumps", refuse)
    monkeypatch.setattr(cloudpickle.CloudPickler, "dump", refuse)
    first = names(fit)
    assert names(fit) == first
    assert_allclose(fit.modelfit.evaluate(data()).compute(scheduler="threads"), data(), rtol=1e-9)


def test_other_content_has_another_name() -> None:
    """A class of the same name with other code, another state, other coordinates, bins, or a part of the model."""
    fits = {times: fitted(line(times)()) for times in (1.0, 2.0)}
    values = {times: fit.modelfit.evaluate(data(), model=line(times)()) for times, fit in fits.items()}
    with pytest.warns(UserWarning, match="not what was fitted"):
        mixed = fits[1.0].modelfit.evaluate(data(), model=line(2.0)())
    assert mixed.data.name not in [one.data.name for one in values.values()]
    one, two, other = (x.values for x in xr.broadcast(*values.values(), mixed))
    assert_allclose(one, two, rtol=1e-9)
    assert not np.allclose(one, other)
    (computed, doubled) = (v.values for v in xr.Dataset({"a": values[1.0], "b": mixed}).compute().data_vars.values())
    assert_allclose(computed, data(), rtol=1e-9)
    assert_allclose(doubled - computed, 2.0 * X + 0.0 * computed, rtol=1e-9)
    fit = fitted(M.Polynomial1D(1, domain=(0, 7), window=(-1, 1)))
    told = [fit.modelfit.evaluate(data(), **o).data.name for o in ({}, {"integrate": True}, {"response": _kernel()})]
    told.append(fitted(M.Polynomial1D(1, domain=(0, 8), window=(-1, 1))).modelfit.evaluate(data()).data.name)
    assert len(set(told)) == 4
    parts = fitted(M.Linear1D(1, 0) + M.Const1D(0, fixed={"amplitude": True})).modelfit.components(data())
    assert len({part.data.name for part in parts.data_vars.values()}) == 2


def _kernel() -> xr.DataArray:
    return xr.DataArray([1.0, 2.0, 1.0], dims="o")


def test_what_cannot_be_told_is_like_nothing_else() -> None:
    class Locked(Fittable1DModel):
        a = Parameter(default=1.0)
        b = Parameter(default=0.0)

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.lock = threading.Lock()

        def __deepcopy__(self, memo: Any) -> Any:
            return type(self)(self.a.value, self.b.value)

        def evaluate(self, x: Any, a: Any, b: Any) -> Any:
            return a * x + b

    fit = fitted(MODELS["class"])
    with pytest.warns(UserWarning, match="not what was fitted"):
        values = [fit.modelfit.evaluate(data(), model=Locked()) for _ in range(2)]
    assert values[0].data.name != values[1].data.name
    assert_allclose(values[0].compute(scheduler="synchronous"), data(), rtol=1e-9)


@pytest.mark.slow
def test_another_process_gives_the_same_name() -> None:
    code = """
import numpy as np, xarray as xr, xr_modelfit
from astropy.modeling.models import Linear1D, Const1D
x = np.arange(8.0)
fit = xr.Dataset()
data = xr.DataArray(2 * x + np.array([[1.0], [3.0]]), dims=("p", "x"), coords={"x": x})
fit = data.modelfit(Linear1D(1, 0) + Const1D(0, fixed={"amplitude": True}), "x")
print(fit.modelfit.evaluate(data.chunk(p=1)).data.name)
"""
    run = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert run[0].stdout == run[1].stdout != ""
