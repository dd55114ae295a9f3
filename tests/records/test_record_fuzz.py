"""Records that nobody wrote: each gives a result, or an error that says so, within a second; nothing is imported."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import copy
import json
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.modeling.models import (
    Chebyshev1D,
    Const1D,
    Gaussian1D,
    Identity,
    Linear1D,
    Planar2D,
    Polynomial1D,
    Polynomial2D,
    RedshiftScaleFactor,
    Scale,
    Tabular1D,
    fix_inputs,
)

from xr_modelfit import RecordError, fit

X = np.linspace(0.0, 4.0, 9)
SECOND = 1.0


def spectra(**attrs: str) -> xr.DataArray:
    y = Gaussian1D(3, 2, 0.7)(X) + 1 + 0.1 * np.cos(7 * X) * np.ones((2, 1))
    return xr.DataArray(y, dims=("star", "v"), coords={"v": ("v", X, {"units": "km/s"} if attrs else {})}, attrs=attrs)


def fitted(model: Any, **options: Any) -> tuple[xr.Dataset, xr.DataArray]:
    data = spectra()
    return fit(data, model, "v", errors="ignore", keep_failed=True, **options), data


def of_an_image() -> tuple[xr.Dataset, xr.DataArray]:
    data = xr.DataArray(np.ones((2, 4, 4)) + np.arange(4), dims=("star", "y", "x"))
    return fit(data, Polynomial2D(1), ("y", "x")), data


def of_units() -> tuple[xr.Dataset, xr.DataArray]:
    data = spectra(units="K")
    model = Gaussian1D(3 * u.K, 2000 * u.m / u.s, 1 * u.km / u.s, bounds={"mean": (100, None)}) + Const1D(2 * u.K)
    return fit(data, model, "v"), data


def of_dates() -> tuple[xr.Dataset, xr.DataArray]:
    days = np.datetime64("2020-01-01", "ns") + np.arange(9) * np.timedelta64(1, "D")
    data = xr.DataArray(np.arange(9.0)[None], dims=("star", "v"), coords={"v": days})
    return fit(data, Linear1D(), "v"), data


def of_bins() -> tuple[xr.Dataset, xr.DataArray]:
    kernel = xr.DataArray([1.0, 2.0, 1.0], dims="offset", coords={"offset": [-0.5, 0.0, 0.5]})
    return fitted(Gaussian1D(3, 2, 1), integrate=True, response=kernel)


def of_the_whole_grid() -> tuple[xr.Dataset, xr.DataArray]:
    return fitted(Gaussian1D(3, 2, 1) + Const1D(1), pointwise=False)


def of_a_compound() -> tuple[xr.Dataset, xr.DataArray]:
    plane = fix_inputs(Planar2D(1, 2, 3, fixed={"slope_y": True, "intercept": True}), {"y": 1.5})
    return fitted((plane + Chebyshev1D(1, domain=(0, 4), tied={"c1": lambda m: 1.0})) * Const1D(2))


def of_a_table() -> tuple[xr.Dataset, xr.DataArray]:
    table = Tabular1D(points=np.linspace(-1, 5, 20), lookup_table=np.linspace(1, 2, 20) ** 2)
    return fitted(RedshiftScaleFactor(0.0, fixed={"z": True}) | Identity(1) | table | Scale(1.0))


def of_a_polynomial() -> tuple[xr.Dataset, xr.DataArray]:
    return fitted(Polynomial1D(2))


MAKERS = [
    of_a_polynomial, of_an_image, of_units, of_dates, of_bins, of_the_whole_grid, of_a_compound, of_a_table,
]  # fmt: skip
NUMBERS: list[Any] = [
    0, -1, 1, 2, 7, 64, 65, 1000, 10**6, 10**7, 10**9, 2**31, 2**63, 10**30, -(10**30), 10**400, 0.5, -1e308, 1e308,
    5e-324, True, "nan", "inf", float("nan"), float("inf"), 1e17,
]  # fmt: skip
MODULE = "a_module_that_tells"
WORDS: list[Any] = [
    None, "", "v", "y", "x", "star", "K", "km/s", "days since 2000-01-01", "noleap", "os.system", f"{MODULE}.M",
    f"astropy.modeling.{MODULE}.M", f"{MODULE}:M:py3.11:0", "+", "**", "&", "|", "fix_inputs", "amplitude", "lost",
    "days since 99999999-01-01", "\x00", "m " * 2000, "(" * 3000, "m**" * 500 + "2", "x" * 10**5, "m(" * 100,
]  # fmt: skip
WORDS += [
    f"astropy.modeling.{path}"
    for path in (
        "polynomial.Polynomial1D", "polynomial.Legendre2D", "polynomial.SIP", "mappings.Mapping", "mappings.Identity",
        "tabular.Tabular1D", "functional_models.Gaussian2D", "physical_models.NFW", "spline.Spline1D",
    )
]  # fmt: skip
SHAPES: list[Any] = [[], {}, [[["x"]]], [0.0] * 1000, [[0.0] * 30] * 30, {"op": "+"}, [10**9], [0, 10**7]]
SHAPES += [{"quantity": [1.0, "m"]}]
KEYS = [
    "state",
    "meta",
    "custom",
    "scale_unit",
    "lost",
    "degree",
    "n_inputs",
    "op",
    "inputs",
    "sampled",
    "kind",
    "n_models",
]


def places(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a record."""
    yield at
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield from places(node[key], (*at, key))


def node_at(record: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        record = record[key]
    return record


def nested(tree: Any, depth: int, rng: random.Random) -> Any:
    for _ in range(depth):
        parts = rng.sample([tree, {"class": "os.system"}], 2)
        tree = {"op": "+", "name": None, "left": parts[0], "right": parts[1]}
    return tree


def changed(record: Any, rng: random.Random) -> Any:
    """A record with one to three changes: something else in a place, a key more or less, a part copied, or nested."""
    for _ in range(rng.randint(1, 3)):
        every = list(places(record))[1:]
        if not every:
            return record
        place = rng.choice(every)
        node, key = node_at(record, place[:-1]), place[-1]
        old = json.loads(json.dumps(node[key]))
        how = rng.randrange(10)
        if how == 0 and isinstance(node, dict):
            del node[key]
        elif how == 1:
            node[key] = json.loads(json.dumps(node_at(record, rng.choice(every))))
        elif how == 2 and isinstance(old, list):
            node[key] = old * rng.choice([0, 2, 100])
        elif how == 3 and isinstance(node, dict):
            node[rng.choice(KEYS)] = copy.deepcopy(rng.choice(NUMBERS + WORDS + SHAPES))
        elif how == 4:
            node[key] = nested(old, rng.choice([1, 50, 250, 300]), rng)
        elif isinstance(old, int | float) or how == 5:
            node[key] = rng.choice(NUMBERS)
        else:
            node[key] = copy.deepcopy(rng.choice(WORDS if isinstance(old, str) else NUMBERS + WORDS + SHAPES))
    return record


def damaged(text: str, rng: random.Random) -> str:
    """The text of a record that was cut off, or has other characters in it."""
    at = rng.randrange(len(text))
    return rng.choice(
        [text[:at], text[:at] + rng.choice('[]{},:"0e9x') + text[at + 1 :], text[:at] + "9" * 400 + text[at:]]
    )


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module that records name, and nothing imports."""
    (tmp_path / f"{MODULE}.py").write_text("class M: pass")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    assert MODULE not in sys.modules


def answer(result: xr.Dataset, data: xr.DataArray) -> list[str]:
    """What each question gives: the word result or refused."""
    found = []
    for ask in (lambda: result.modelfit.evaluate(data), result.modelfit.to_model, lambda: result.modelfit.ok):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ask()
            found.append("result")
        except RecordError:
            found.append("refused")
    return found


def fuzz(n: int, seed: int) -> dict[str, int]:
    """How many answers are results, and how many refused, of so many records."""
    rng = random.Random(seed)
    made = [make() for make in MAKERS]
    texts = [result["fit_status"].attrs["modelfit_record"] for result, _ in made]
    for result, data in made:
        assert answer(result, data) == ["result"] * 3
    counts, imported = {"result": 0, "refused": 0}, set(sys.modules)
    for number in range(n):
        i = rng.randrange(len(made))
        forged = damaged(texts[i], rng) if rng.random() < 0.1 else json.dumps(changed(json.loads(texts[i]), rng))
        result, data = made[i]
        result["fit_status"].attrs["modelfit_record"] = forged
        begin = time.thread_time()
        try:
            found = answer(result, data)
        except Exception as error:
            raise AssertionError(f"record {number} of {seed}, {MAKERS[i].__name__}: {forged[:3000]}") from error
        assert time.thread_time() - begin < SECOND, f"record {number} of {seed}, {MAKERS[i].__name__}: {forged[:3000]}"
        for one in found:
            counts[one] += 1
    assert {name.partition(".")[0] for name in set(sys.modules) - imported} <= {"astropy", "scipy"}
    return counts


def test_records_that_nobody_wrote(trap: None) -> None:
    counts = fuzz(400, seed=0)
    assert min(counts.values()) > 100


@pytest.mark.slow
def test_ten_thousand_records_that_nobody_wrote(trap: None) -> None:
    counts = fuzz(10_000, seed=1)
    print(counts)
    assert sum(counts.values()) == 30_000
    assert min(counts.values()) > 2000


# --- one by one

POLYNOMIALS, MAPPINGS = "astropy.modeling.polynomial.", "astropy.modeling.mappings."


def becomes(path: str, **arguments: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda model: model.update({"class": path, "arguments": arguments})


SIZES: list[tuple[Any, Callable[[dict[str, Any]], Any]]] = [
    (of_a_polynomial, lambda m: m["arguments"].update(degree=10**7)),
    (of_a_polynomial, lambda m: m["arguments"].update(degree=-(10**7))),
    (of_a_polynomial, lambda m: m["arguments"].update(degree=10**400)),
    (of_a_polynomial, lambda m: m["arguments"].update(domain=[0, 10**400])),
    (of_a_polynomial, becomes(POLYNOMIALS + "Chebyshev2D", x_degree=9999, y_degree=9999)),
    (of_a_polynomial, becomes(MAPPINGS + "Identity", n_inputs=10**9)),
    (of_a_polynomial, becomes(MAPPINGS + "Mapping", mapping=[10**9])),
    (of_a_polynomial, becomes(MAPPINGS + "Mapping", mapping=[0], n_inputs=10**9)),
    (of_a_polynomial, becomes("astropy.modeling.spline.Spline1D", knots=10**9)),
    (of_a_polynomial, lambda m: m.update(name="x" * 10**6)),
    (of_a_table, lambda m: m["left"]["right"]["arguments"].update(points=[[0.0] * 20])),
    (of_a_table, lambda m: m["left"]["right"]["arguments"].update(points=[[0.0, 1.0]])),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(SIZES)))
def test_sizes_that_the_parameter_values_do_not_bear_out(number: int) -> None:
    make, change = SIZES[number]
    result, data = make()
    record = json.loads(result["fit_status"].attrs["modelfit_record"])
    change(record["model"])
    result["fit_status"].attrs["modelfit_record"] = json.dumps(record)
    begin = time.thread_time()
    with pytest.raises(RecordError):
        result.modelfit.evaluate(data)
    with pytest.raises(RecordError):
        result.modelfit.to_model()
    assert time.thread_time() - begin < SECOND


def test_a_model_deep_in_others_is_refused_at_once_and_a_long_sum_is_none() -> None:
    """Nine hundred sums inside each other took nine seconds."""
    result, data = of_a_polynomial()
    record = json.loads(result["fit_status"].attrs["modelfit_record"])
    for _ in range(300):
        record["model"] = (
            {"op": "+", "name": None, "left": record["model"], "right": record["model"]["right"]}
            if ("op" in record["model"])
            else {"op": "+", "name": None, "left": record["model"], "right": record["model"]}
        )
    result["fit_status"].attrs["modelfit_record"] = json.dumps(record)
    begin = time.thread_time()
    with pytest.raises(RecordError):
        result.modelfit.evaluate(data)
    assert time.thread_time() - begin < SECOND
    lines = sum((Gaussian1D(1, k / 10, 0.1, fixed={"mean": True, "stddev": True}) for k in range(40)), Const1D(1))
    long = spectra().isel(star=0).interp(v=np.linspace(0, 4, 90))
    many = fit(long, lines, "v", errors="ignore", keep_failed=True)
    assert many.modelfit.evaluate(long).shape == long.shape


def test_notes_of_any_length_may_be_on_a_model() -> None:
    model = Gaussian1D(3, 2, 0.7, meta={"comment": "long " * 5000})
    data = spectra()
    assert fit(data, model, "v").modelfit.to_model().meta["comment"].startswith("long long")
