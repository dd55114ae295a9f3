"""Laws that hold for every fit, whatever the data: tried by hypothesis on small problems of several kinds."""

from __future__ import annotations  # astropy's Model has an | operator of its own

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import xarray as xr
from astropy.modeling import Model, custom_model
from astropy.modeling.fitting import DogBoxLSQFitter, LinearLSQFitter, TRFLSQFitter
from astropy.modeling.models import Const1D, Gaussian1D, Linear1D, Planar2D, Polynomial2D
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from support.bits import assert_same_bits
from xr_modelfit import FitStatus, fit

pytestmark = pytest.mark.quick_share(3)

SIZES = {"p": 2, "q": 3, "t": 12, "y": 4, "x": 5}
SEEDS = st.integers(0, 2**16)


def law(max_examples: int) -> settings:
    """The same examples in every run, and no clock: other work on the machine must not fail a test.

    Nothing is shrunk: the problems are small, and a failure must not take minutes.
    """
    phases = [Phase.explicit, Phase.generate]
    return settings(max_examples=max_examples, deadline=None, derandomize=True, database=None, phases=phases)


@custom_model
def decay(x, height=1.0, rate=1.0):
    """Exponential decay."""
    return height * np.exp(-rate * x)


@dataclass(frozen=True)
class Case:
    """A kind of fit: a model whose start is also the truth of its data, the fitted dims, a fitter."""

    name: str
    model: Callable[[], Model]
    fitted: tuple[str, ...]
    fitter: Callable[[], Any]
    linear: bool = False

    @property
    def dims(self) -> tuple[str, ...]:
        return ("p", "q", *self.fitted)

    def truth(self) -> xr.DataArray:
        """The model at its start, over the fitted dims."""
        model = self.model()
        values = model(*np.meshgrid(*(COORDS[d] for d in model_dims(model)), indexing="ij"))
        return xr.DataArray(values, dims=model_dims(model)).transpose(*self.fitted)

    def data(self, seed: int) -> xr.Dataset:
        """``flux`` with noise, ``error``, ``good``; one position without data and some NaN."""
        rng = np.random.default_rng(seed)
        shape = tuple(SIZES[d] for d in self.dims)
        flux = self.truth().values + rng.normal(0.0, 0.1, shape)
        flux[rng.random(shape) < 0.05] = np.nan
        flux[1, 0] = np.nan
        return xr.Dataset(
            {
                "flux": (self.dims, flux),
                "error": (self.dims, rng.uniform(0.05, 0.2, shape)),
                "good": (self.dims, rng.random(shape) > 0.05),
            },
            coords={d: COORDS[d] for d in self.dims},
        )

    def fit(self, ds: xr.Dataset | xr.DataArray, **options: Any) -> xr.Dataset:
        """The fit of ``flux``, its failures in the status alone."""
        options = {"fitter": self.fitter(), "covariance": True, "errors": "ignore"} | options
        if isinstance(ds, xr.Dataset):
            options = {"data": "flux", "sigma": "error", "where": "good"} | options
        return fit(ds, self.model(), self.fitted, **options)


COORDS = {
    "p": np.array([10.0, 20.0]),
    "q": np.array([3.0, 1.0, 2.0]),
    "t": np.linspace(0.0, 5.0, SIZES["t"]) ** 1.1,
    "y": np.linspace(-1.0, 2.0, SIZES["y"]),
    "x": np.linspace(4.0, 0.0, SIZES["x"]) + 0.1,
}


def model_dims(model: Model) -> tuple[str, ...]:
    """The dims that the model's inputs read, in the order of the inputs."""
    return ("t",) if model.n_inputs == 1 else tuple(model.inputs)


CASES = [
    Case("line", lambda: Linear1D(0.5, 1.0), ("t",), LinearLSQFitter, linear=True),
    Case("gaussian", lambda: Gaussian1D(3.0, 2.0, 1.0), ("t",), lambda: None),
    Case("decay", lambda: decay(3.0, 0.5), ("t",), TRFLSQFitter),
    Case("bounded", lambda: Gaussian1D(3, 2, 1, bounds={"mean": (1.0, 2.01)}), ("t",), DogBoxLSQFitter),
    Case("plane", lambda: Planar2D(0.5, 2.0, 1.0), ("y", "x"), LinearLSQFitter, linear=True),
    Case("surface", lambda: Polynomial2D(1, c0_0=1.0, c1_0=0.5, c0_1=2.0), ("y", "x"), lambda: None),
]
# Other fitters of astropy, one fit at a time as "decay" and "line" are.
LONG = {"bounded", "plane"}
every_case = pytest.mark.parametrize(
    "case", [pytest.param(c, id=c.name, marks=[pytest.mark.slow] * (c.name in LONG)) for c in CASES]
)
linear_cases = pytest.mark.parametrize("case", [c for c in CASES if c.linear], ids=[c.name for c in CASES if c.linear])


def partitions(n: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Ways to cut ``n`` positions into chunks, mostly irregular ones."""
    cuts = st.lists(st.integers(1, n - 1), unique=True, max_size=3) if n > 1 else st.just([])
    return cuts.map(lambda at: tuple(np.diff([0, *sorted(at), n]).tolist()))


def chunkings(dims: Sequence[str]) -> st.SearchStrategy[dict[str, tuple[int, ...]]]:
    """Chunks along every dim."""
    return st.fixed_dictionaries({d: partitions(SIZES[d]) for d in dims})


# --- the order of dims


@every_case
@law(4)
@given(seed=SEEDS, draw=st.data())
def test_the_order_of_dims_does_not_matter(case: Case, seed: int, draw: st.DataObject) -> None:
    """Data, companions and start maps in any order give the same maps, dims in the order of the data."""
    ds = case.data(seed)
    start = start_map(case)
    expected = case.fit(ds, p0=start)
    order = {name: draw.draw(st.permutations(case.dims), label=name) for name in ds.data_vars}
    turned = xr.Dataset({name: ds[name].transpose(*dims) for name, dims in order.items()})
    dim = draw.draw(st.permutations(case.fitted), label="dim")
    got = fit(
        turned["flux"],
        case.model(),
        dim,
        sigma=turned["error"],
        where=turned["good"],
        p0={name: value.transpose() for name, value in start.items()},
        fitter=case.fitter(),
        covariance=True,
        errors="ignore",
    )
    remaining = [d for d in order["flux"] if d not in case.fitted]
    assert got["fit_status"].dims == tuple(remaining)
    assert (got["fit_status"] > 0).any()
    assert_same_bits(got.transpose("p", "q", ...), expected)


def start_map(case: Case) -> dict[str, xr.DataArray]:
    """A start for the first parameter that varies from fit to fit."""
    model = case.model()
    value = model.parameters[0] * np.linspace(0.9, 1.1, 6).reshape(2, 3)
    return {model.param_names[0]: xr.DataArray(value, dims=("p", "q"))}


# --- chunks and schedulers


@every_case
@law(4)
@given(seed=SEEDS, draw=st.data())
def test_chunks_do_not_matter(case: Case, seed: int, draw: st.DataObject) -> None:
    """Irregular chunks along remaining and fitted dims; companions are numpy, or have other chunks."""
    ds = case.data(seed)
    start = start_map(case)
    expected = case.fit(ds, p0=start)
    chunks = draw.draw(chunkings(case.dims), label="chunks")
    error, good = ds["error"], ds["good"]
    if draw.draw(st.booleans(), label="chunked error"):
        error = error.chunk(draw.draw(chunkings(case.dims)))
    if draw.draw(st.booleans(), label="chunked mask"):
        good = good.chunk(draw.draw(chunkings(case.dims)))
    if draw.draw(st.booleans(), label="chunked start"):
        start = {name: value.chunk(draw.draw(chunkings(("p", "q")))) for name, value in start.items()}
    per_block = draw.draw(st.none() | st.integers(1, 7), label="fits_per_chunk")
    lazy = case.fit(ds["flux"].chunk(chunks), sigma=error, where=good, p0=start, fits_per_chunk=per_block)
    assert lazy["fit_status"].chunks is not None
    if per_block is None:
        assert lazy["fit_status"].chunks == (chunks["p"], chunks["q"])
    assert_same_bits(lazy.compute(scheduler="synchronous"), expected)


@every_case
@law(4)
@given(seed=SEEDS, scheduler=st.sampled_from(["synchronous", "threads"]), per_block=st.none() | st.integers(1, 7))
def test_schedulers_and_block_sizes_do_not_matter(case: Case, seed: int, scheduler: str, per_block: int | None) -> None:
    """Computed input, in pieces of any size, on one thread or on several."""
    ds = case.data(seed)
    got = case.fit(ds, scheduler=scheduler, fits_per_chunk=per_block)
    assert got["fit_status"].chunks is None
    assert_same_bits(got, case.fit(ds))


# --- samples that are left out


def without_invalid(ds: xr.Dataset, used: xr.DataArray) -> xr.Dataset:
    """One position with its samples in a row, those not in ``used`` taken away."""
    fitted = used.dims
    fitted = tuple(sorted(fitted))  # the order in which samples are summed
    row = ds.stack(sample=fitted, create_index=False)
    return row.isel(sample=np.flatnonzero(used.stack(sample=fitted, create_index=False).values))


LEFT_OUT: dict[str, Callable[[xr.Dataset, xr.DataArray], xr.Dataset]] = {
    "where": lambda ds, used: ds.assign(good=used),
    "NaN data": lambda ds, used: ds.assign(flux=ds["flux"].where(used)),
    "infinite data": lambda ds, used: ds.assign(flux=ds["flux"].where(used, -np.inf)),
    "NaN sigma": lambda ds, used: ds.assign(error=ds["error"].where(used)),
    "infinite sigma": lambda ds, used: ds.assign(error=ds["error"].where(used, np.inf)),
    "sigma 0": lambda ds, used: ds.assign(error=ds["error"].where(used, 0.0)),
    "negative sigma": lambda ds, used: ds.assign(error=ds["error"].where(used, -1.0)),
    "masked NaN": lambda ds, used: ds.assign(
        good=used, flux=ds["flux"].where(used), error=ds["error"].where(used, np.nan)
    ),
}


@pytest.mark.slow
@every_case
@law(4)
@given(seed=SEEDS, share=st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]), ways=st.permutations(list(LEFT_OUT)))
def test_samples_left_out_are_as_if_they_were_not_there(
    case: Case, seed: int, share: float, ways: Sequence[str]
) -> None:
    """Masked = NaN = no valid error = taken away, in values, errors, n_points and dof."""
    ds = case.data(seed)
    ds["flux"] = ds["flux"].fillna(1.0)
    ds["good"] = xr.ones_like(ds["good"])
    used = ds["good"].copy(data=np.random.default_rng(seed + 1).random(ds["good"].shape) >= share)
    masked = case.fit(ds, where=used)
    assert masked["n_points"].equals(used.sum(case.fitted).rename("n_points"))
    for way in ways[:3]:
        assert_same_bits(case.fit(LEFT_OUT[way](ds, used)), masked)

    inputs = {name: dim for name, dim in zip(case.model().inputs, model_dims(case.model()), strict=True)}
    for p, q in np.ndindex(2, 3):
        alone = without_invalid(ds.isel(p=p, q=q), used.isel(p=p, q=q))
        got = fit(
            alone,
            case.model(),
            "sample",
            data="flux",
            sigma="error",
            coords=inputs,
            fitter=case.fitter(),
            covariance=True,
            errors="ignore",
        )
        assert_same_bits(got, masked.isel(p=p, q=q))


@every_case
@law(4)
@given(seed=SEEDS, unusable=st.sampled_from([0.0, -1.0, np.nan, np.inf, -np.inf]))
def test_samples_without_a_positive_weight_are_left_out(case: Case, seed: int, unusable: float) -> None:
    """A weight of 0 leaves a sample out of n_points and dof too."""
    ds = case.data(seed)
    used = ds["good"].copy(data=np.random.default_rng(seed).random(ds["good"].shape) > 0.3)
    weights = 1.0 / ds["error"]
    masked = case.fit(ds, sigma=None, weights=weights, where=used)
    assert masked["n_points"].equals((used & ds["flux"].notnull()).sum(case.fitted).rename("n_points"))
    assert_same_bits(case.fit(ds, sigma=None, weights=weights.where(used, unusable), where=None), masked)


@every_case
@law(3)
@given(seed=SEEDS)
def test_a_sample_without_coordinate_is_left_out(case: Case, seed: int) -> None:
    """A coordinate that varies from fit to fit may have gaps."""
    ds = case.data(seed)
    first = model_dims(case.model())[0]
    used = ds["good"].copy(data=np.random.default_rng(seed).random(ds["good"].shape) > 0.2)
    coords: dict[str, Any] = dict(zip(case.model().inputs, model_dims(case.model()), strict=True))
    coords[case.model().inputs[0]] = ds[first].broadcast_like(ds["flux"]).where(used).rename("place")
    got = case.fit(ds, where=None, coords=coords)
    assert_same_bits(got, case.fit(ds, where=used))


# --- company


@every_case
@law(4)
@given(seed=SEEDS, at=st.lists(st.integers(0, 2), min_size=1, max_size=5))
def test_positions_may_be_repeated_and_in_any_order(case: Case, seed: int, at: list[int]) -> None:
    """A position that occurs twice gives twice the same, and the maps follow the positions."""
    ds = case.data(seed)
    assert_same_bits(case.fit(ds.isel(q=at)), case.fit(ds).isel(q=at))


@every_case
@law(3)
@given(seed=SEEDS, keep=st.sampled_from([("p",), ("q",), ()]))
def test_a_fit_alone_equals_the_fit_in_company(case: Case, seed: int, keep: tuple[str, ...]) -> None:
    """A row, a column or a single position, with no remaining dim at all, has the bits that it has in the whole."""
    ds = case.data(seed)
    whole = case.fit(ds)
    for at in (dict(zip("pq", i, strict=True)) for i in np.ndindex(2, 3)):
        here = {d: [i] if d in keep else i for d, i in at.items()}
        alone = case.fit(ds.isel(here))
        assert alone["fit_status"].dims == keep
        assert_same_bits(alone, whole.isel(here))


@every_case
@law(3)
@given(seed=SEEDS)
def test_bad_neighbours_do_not_matter(case: Case, seed: int) -> None:
    """Positions with huge, infinite or few samples change nothing elsewhere."""
    ds = case.data(seed)
    expected = case.fit(ds).isel(q=[0, 2])
    bad = ds.copy(deep=True)
    bad["flux"][{"q": 1}] = np.inf
    bad["flux"][{"q": 1, "p": 0}] = 1e300
    got = case.fit(bad)
    assert_same_bits(got.isel(q=[0, 2]), expected)
    assert got["fit_status"].isel(q=1, p=1) == FitStatus.NO_DATA


@every_case
@law(4)
@given(seed=SEEDS, draw=st.data())
def test_the_order_of_samples_matters_to_rounding_only(case: Case, seed: int, draw: st.DataObject) -> None:
    """Sums are taken in another order; a nonlinear fitter may stop an iteration earlier or later for it.

    Linear fits are solved directly: rounding is 1e-16 of the values, a standard error about 1e-2 of them, and
    a few digits go into the condition. Others stop where a step would change chi-square by 1e-8 or less of itself,
    which is a distance of 1e-4 * sqrt(dof) standard errors.
    """
    ds = case.data(seed)
    at = {d: draw.draw(st.permutations(range(SIZES[d])), label=d) for d in case.fitted}
    expected, got = case.fit(ds), case.fit(ds.isel(at))
    distance, relative = (1e-9, 1e-11) if case.linear else (1e-3, 1e-2)
    xr.testing.assert_equal(got["fit_status"], expected["fit_status"])
    xr.testing.assert_equal(got["n_points"], expected["n_points"])
    ok = expected["fit_status"].values > 0
    assert np.count_nonzero(ok) >= 4
    np.testing.assert_allclose(got["chi2"].values[ok], expected["chi2"].values[ok], rtol=distance**2 + 1e-12)
    for name in case.model().param_names:
        a, b, error = (r.values[ok] for r in (got[name], expected[name], expected[f"{name}_stderr"]))
        at_bound = np.isnan(error)
        assert np.all(np.abs(a - b)[~at_bound] <= distance * error[~at_bound]), name
        np.testing.assert_allclose(a[at_bound], b[at_bound], atol=1e-3)
        np.testing.assert_allclose(got[f"{name}_stderr"].values[ok], error, rtol=relative)


# --- the form of the input

DTYPES = ["float32", "int16", "int64", "uint8", ">f4", ">f8", ">i2", "<u4", "float16"]


def read_only(values: np.ndarray) -> np.ndarray:
    """A copy that refuses to be written to."""
    copied = values.copy()
    copied.flags.writeable = False
    return copied


def strided(values: np.ndarray) -> np.ndarray:
    """Every other element of a larger array."""
    larger = np.zeros((*values.shape[:-1], 2 * values.shape[-1]), values.dtype)
    larger[..., ::2] = values
    return larger[..., ::2]


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "read-only": read_only,
    "strided": strided,
    "backwards": lambda values: values[..., ::-1].copy()[..., ::-1],
}


@every_case
@law(5)
@given(
    seed=SEEDS,
    dtypes=st.lists(st.sampled_from(DTYPES), min_size=3, max_size=3),
    layouts=st.lists(st.sampled_from(list(LAYOUTS)), min_size=3, max_size=3),
    lazy=st.booleans(),
)
def test_type_and_layout_of_the_input_do_not_matter(
    case: Case, seed: int, dtypes: list[str], layouts: list[str], lazy: bool
) -> None:
    """Any real type, byte order and memory layout gives what the same numbers give as float64."""
    ds = case.data(seed)
    ds["flux"] = (10 + 8 * ds["flux"].fillna(0.0)).round().clip(0, 120)
    ds["error"] = (20 * ds["error"]).round().clip(1, 4)
    place = xr.DataArray(np.arange(SIZES[case.fitted[0]]), dims=case.fitted[0])
    coords: dict[str, Any] = dict(zip(case.model().inputs, model_dims(case.model()), strict=True))
    reads = case.model().inputs[model_dims(case.model()).index(case.fitted[0])]

    def prepared(array: xr.DataArray, i: int) -> xr.DataArray:
        return array.copy(data=LAYOUTS[layouts[i]](array.values.astype(dtypes[i])))

    expected = case.fit(
        ds["flux"], sigma=ds["error"], where=ds["good"], coords=coords | {reads: place.astype(float).rename("place")}
    )
    data = prepared(ds["flux"], 0)
    got = case.fit(
        data.chunk(p=1) if lazy else data,
        sigma=prepared(ds["error"], 1),
        where=ds["good"].copy(data=LAYOUTS[layouts[1]](ds["good"].values)),
        coords=coords | {reads: prepared(place, 2).rename("place")},
    )
    assert (expected["fit_status"] > -4).any()
    assert_same_bits(got.compute(), expected)


@law(5)
@given(dtype=st.sampled_from(DTYPES), layout=st.sampled_from(list(LAYOUTS)))
def test_type_and_layout_of_start_maps_do_not_matter(dtype: str, layout: str) -> None:
    """Start and bound maps of any type give what the same numbers give as float64."""
    ds = CASES[1].data(3)
    start = xr.DataArray(np.array([[1, 2, 3], [3, 2, 1]]), dims=("p", "q"))
    high = xr.DataArray(np.array([[3, 2, 4], [4, 4, 3]]), dims=("p", "q"))
    expected = CASES[1].fit(ds, p0={"mean": start.astype(float)}, bounds={"mean": (0.5, high.astype(float))})
    start, high = (a.copy(data=LAYOUTS[layout](a.values.astype(dtype))) for a in (start, high))
    assert_same_bits(CASES[1].fit(ds, p0={"mean": start}, bounds={"mean": (0.5, high)}), expected)


# --- sizes


@law(15)
@given(
    sizes=st.tuples(*[st.sampled_from([0, 1, 3])] * 3),
    order=st.permutations(["p", "q", "t"]),
    lazy=st.booleans(),
    per_block=st.none() | st.integers(1, 4),
)
def test_dims_of_any_size(sizes: tuple[int, int, int], order: list[str], lazy: bool, per_block: int | None) -> None:
    """Dims of size 1 stay, dims of size 0 give empty maps, or positions without data where they are fitted."""
    size = dict(zip("pqt", sizes, strict=True))
    data = xr.DataArray(np.full([size[d] for d in order], 2.0), dims=order, coords={"t": np.arange(size["t"])})
    data = data.chunk() if lazy else data
    options = {"fitter": LinearLSQFitter(), "covariance": True, "errors": "ignore", "fits_per_chunk": per_block}
    options |= {} if lazy else {"scheduler": "synchronous"}
    result = fit(data, Linear1D(0.0, 1.0), "t", **options)
    if math.prod(sizes[:2]):
        assert (result["fit_status"].chunks is not None) == lazy
    remaining = tuple(d for d in order if d != "t")
    for name in ("slope", "slope_stderr", "chi2", "dof", "n_points", "n_iter", "fit_status"):
        assert result[name].dims == remaining
        assert result[name].shape == tuple(size[d] for d in remaining)
    assert result["covariance"].shape == (*(size[d] for d in remaining), 2, 2)
    computed = result.compute(scheduler="synchronous")
    status = {0: FitStatus.NO_DATA, 1: FitStatus.TOO_FEW_POINTS, 3: FitStatus.CONVERGED}[size["t"]]
    assert (computed["fit_status"] == status).all()
    assert (computed["n_points"] == size["t"]).all()
    assert (computed["dof"] == size["t"] - 2).all()
    np.testing.assert_allclose(computed["intercept"], 2.0 if size["t"] == 3 else np.nan, atol=1e-12)
    model = computed.modelfit.evaluate(data)
    assert model.dims == data.dims
    assert model.shape == data.shape


@law(7)
@given(sizes=st.tuples(*[st.sampled_from([0, 1, 3])] * 3), lazy=st.booleans(), companions=st.booleans())
def test_two_fitted_dims_of_any_size(sizes: tuple[int, int, int], lazy: bool, companions: bool) -> None:
    """An empty fitted dim gives positions without data; one sample is enough for one parameter."""
    size = dict(zip("pyx", sizes, strict=True))
    data = xr.DataArray(np.full(sizes, 2.0), dims=("p", "y", "x"))
    options = {"sigma": data / 2, "where": data > 0} if companions else {}
    data = data.chunk() if lazy else data
    result = fit(data, Const1D(1.0), ("x", "y"), coords="x", errors="ignore", **options).compute()
    n = size["y"] * size["x"]
    assert result["fit_status"].shape == (size["p"],)
    assert (result["fit_status"] == (FitStatus.CONVERGED if n else FitStatus.NO_DATA)).all()
    assert (result["n_points"] == n).all()
    np.testing.assert_allclose(result["amplitude"], 2.0 if n else np.nan)


@every_case
@law(4)
@given(seed=SEEDS, lazy=st.booleans())
def test_every_dim_may_be_fitted(case: Case, seed: int, lazy: bool) -> None:
    """With no remaining dim the result has none: one fit of all samples."""
    ds = case.data(seed)
    inputs = dict(zip(case.model().inputs, model_dims(case.model()), strict=True))
    options = {"coords": inputs, "data": "flux", "sigma": "error", "where": "good", "fitter": case.fitter()}
    got = fit(ds.chunk(p=1) if lazy else ds, case.model(), ..., **options)
    assert (got["fit_status"].chunks is not None) == lazy
    assert all(v.dims == () for v in got.data_vars.values())
    assert not set(got.coords) & set(case.dims)
    stacked = ds.stack(sample=sorted(case.dims), create_index=False)  # the order in which samples are summed
    assert_same_bits(got.compute(), fit(stacked, case.model(), "sample", **options))
    assert got["n_points"] == (ds["flux"].notnull() & ds["good"]).sum()


# --- what was passed in


@every_case
@law(4)
@given(seed=SEEDS, lazy=st.booleans())
def test_nothing_that_was_passed_in_is_changed(case: Case, seed: int, lazy: bool) -> None:
    """Data, companions, model, dicts and the fitter are after the call what they were before."""
    ds = case.data(seed).assign_attrs(title="test")
    ds["flux"].attrs["units"] = "K"
    ds["flux"].encoding["dtype"] = "float32"
    model = case.model()
    fitter = TRFLSQFitter() if case.fitter() is None else case.fitter()
    names = model.param_names
    p0 = start_map(case)
    bounds = {} if case.linear else {names[-1]: (0.0, xr.DataArray([5.0, 6.0], dims="p"))}
    options = {} if case.linear else {"maxiter": 50}
    coords = dict(zip(model.inputs, model_dims(model), strict=True))
    given_ds = ds.chunk(p=1) if lazy else ds
    passed = (given_ds, p0, bounds, options, coords)
    before = copy.deepcopy((given_ds.compute(), p0, bounds, options, coords))
    state = copy.deepcopy((vars(fitter), model.parameters, model.fixed, model.tied, model.bounds, model.name))
    fit(
        given_ds,
        model,
        list(case.fitted),
        data="flux",
        sigma="error",
        where="good",
        p0=p0,
        bounds=bounds,
        fitter=fitter,
        fitter_kwargs=options,
        coords=coords,
        errors="ignore",
    ).compute()
    assert_unchanged(passed, before)
    assert given_ds["flux"].encoding["dtype"] == "float32"
    assert_unchanged((vars(fitter), model.parameters, model.fixed, model.tied, model.bounds, model.name), state)


def assert_unchanged(now: Any, before: Any) -> None:
    """Nested containers of arrays and plain values are equal."""
    assert type(now) is type(before)
    if isinstance(before, xr.Dataset | xr.DataArray):
        xr.testing.assert_identical(now.compute(), before)
    elif isinstance(before, dict):
        assert list(now) == list(before)
        for key in before:
            assert_unchanged(now[key], before[key])
    elif isinstance(before, tuple | list):
        assert len(now) == len(before)
        for a, b in zip(now, before, strict=True):
            assert_unchanged(a, b)
    else:
        np.testing.assert_array_equal(now, before)


# --- scale


@linear_cases
@law(6)
@given(seed=SEEDS, power=st.integers(-60, 60), absolute=st.booleans())
def test_a_linear_fit_scales_with_its_data(case: Case, seed: int, power: int, absolute: bool) -> None:
    """Data and sigma times 2**k: parameters and errors times 2**k, and chi-square the same.

    Scaling by a power of two changes no digit of data and weights, so what is left is the rounding of thresholds.
    """
    ds = case.data(seed)
    factor = 2.0**power
    scaled = ds.assign(flux=ds["flux"] * factor, error=ds["error"] * factor)
    expected, got = (case.fit(d, absolute_sigma=absolute) for d in (ds, scaled))
    for name in ("fit_status", "n_points", "dof"):
        xr.testing.assert_equal(got[name], expected[name])
    assert (expected["fit_status"] > 0).sum() == 5
    for name in ("chi2", "reduced_chi2"):
        xr.testing.assert_allclose(got[name], expected[name], rtol=1e-12)
    for name in case.model().param_names:
        for part in (name, f"{name}_stderr"):
            xr.testing.assert_allclose(got[part] / factor, expected[part], rtol=1e-12, atol=1e-14)
    xr.testing.assert_allclose(got["covariance"] / factor**2, expected["covariance"], rtol=1e-12, atol=1e-14)


@linear_cases
@law(6)
@given(seed=SEEDS, power=st.integers(-60, 60))
def test_relative_weights_have_no_scale(case: Case, seed: int, power: int) -> None:
    """A factor on weights that are relative changes chi-square alone."""
    ds = case.data(seed)
    weights = 1.0 / ds["error"]
    expected, got = (case.fit(ds, sigma=None, weights=w) for w in (weights, weights * 2.0**power))
    xr.testing.assert_allclose(got["chi2"], expected["chi2"] * 4.0**power, rtol=1e-12, atol=0.0)
    same = ["fit_status", *case.model().param_names, *(f"{n}_stderr" for n in case.model().param_names)]
    xr.testing.assert_allclose(got[same], expected[same], rtol=1e-12, atol=1e-14)
