"""One fit with its samples and its model, ready to be drawn."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from astropy.units import Quantity

from xr_modelfit.labels.coords import Labels, bare
from xr_modelfit.messages import listed
from xr_modelfit.models.function_models import ModelArg
from xr_modelfit.parameter_units.parameters import UnitSystem
from xr_modelfit.records.other_model import tell_other_model
from xr_modelfit.records.record import FitRecord
from xr_modelfit.records.units import coordinate_numbers
from xr_modelfit.results.components import components, in_unit_of
from xr_modelfit.results.evaluation import Evaluation, evaluate
from xr_modelfit.results.instrument import Instrument
from xr_modelfit.results.points import coordinates, one_variable
from xr_modelfit.results.positions import one_position
from xr_modelfit.results.rates import as_rates, exposure_of
from xr_modelfit.units.times import holds_times
from xr_modelfit.units.units import measure_of, plain

__all__ = ["Curve", "OneFit", "data_of", "known_names", "one_fit_of"]

_FINE = 500  # points of a curve, at least
_FINEST = 200_000
_STEP = 5  # points of a curve for each sample, so that a long series shows its seasons
_CURVE = "_modelfit_curve"
_DATA, _WHERE, _EXPOSURE, _LIMIT = (f"_modelfit_{name}" for name in ("data", "where", "exposure", "limit"))
_SIGMA = ("_modelfit_sigma", "_modelfit_sigma_above")


@dataclass(frozen=True)
class OneFit:
    """One fit with its samples, computed."""

    data: xr.DataArray  # over the fitted dims
    result: xr.Dataset  # without dims
    record: FitRecord
    labels: Mapping[Hashable, str]  # the position, as text
    sigma: tuple[xr.DataArray, xr.DataArray] | None  # below and above, in the unit of the data, with its dims
    used: np.ndarray  # bool: the samples that were probably fitted
    clipped: np.ndarray  # bool: those that the fitter left out, as far as the result tells
    limits: np.ndarray  # bool: those that are upper limits
    template: ModelArg | None  # the model, if the record cannot give it
    instrument: Instrument

    @property
    def status(self) -> float:
        """The code of the status."""
        return float(self.result[self.record.variable("fit_status")])

    @property
    def is_image(self) -> bool:
        """Whether the samples are an image rather than a series."""
        return self.data.ndim == 2 and len(self.record.inputs) > 1

    def _at(self, data: xr.DataArray | None, coords: Mapping[str, Any]) -> Evaluation:
        asked = self.instrument
        return Evaluation.resolve(
            self.result, self.record, data, coords, self.template,
            integrate=asked.integrate, response=asked.response, variables=asked.variables,
        )  # fmt: skip

    def model(self) -> xr.DataArray:
        """The fitted model at the samples; NaN where the fit failed."""
        return in_unit_of(self.data, evaluate(self._at(self.data, {})))

    def coordinate(self) -> xr.DataArray:
        """The coordinate along which a series is drawn, with the dims of the data."""
        read = coordinates(self.record, self.data, {})
        return self.data[self.data.dims[0]] if len(read) > 1 else _over(self.data, read[0])

    def curve(self) -> Curve | None:
        """The model between the samples; None if it has several inputs or there is no finite coordinate."""
        if len(self.record.inputs) > 1:
            return None
        one, coordinate = self.record.inputs[0], coordinates(self.record, self.data, {})[0]
        numbers = coordinate_numbers(coordinate, one) if holds_times(coordinate) else coordinate.variable
        samples = _over(self.data, xr.DataArray(numbers)).values.astype(float)
        inside = samples[self.used] if self.used.any() else samples[np.isfinite(samples)]  # no extrapolation
        if inside.size == 0:
            return None
        of_samples = self._at(self.data, {})
        if self.record.grid_dims is None and of_samples.nodes is None:
            n = int(np.clip(_STEP * inside.size, _FINE, _FINEST))
            fine = np.union1d(np.linspace(inside.min(), inside.max(), n), inside)
            attrs = {} if holds_times(coordinate) else coordinate.attrs
            between = self._at(None, {one["coordinate"]: xr.DataArray(fine, dims=_CURVE, attrs=attrs)})
            model, parts = evaluate(between), components(between)
        else:  # the model has values at the samples only
            order = np.argsort(samples, axis=None, kind="stable")
            order = order[np.isfinite(samples.ravel()[order])]
            fine = samples.ravel()[order]
            model = self._in_order(evaluate(of_samples), order)
            parts = components(of_samples).map(self._in_order, keep_attrs=True, args=(order,))
        # The parts are drawn if they add up to the model. Factors of a product have other units and sizes.
        total = np.sum([part.values for part in parts.values()], axis=0)
        sums = len(parts) > 1 and np.allclose(total, model.values, equal_nan=True)
        terms = parts.items() if sums else ()
        named = {str(n).removeprefix(self.record.prefix): in_unit_of(self.data, part).values for n, part in terms}
        return Curve(samples, fine, in_unit_of(self.data, model).values, named)

    def _in_order(self, values: xr.DataArray, order: np.ndarray) -> xr.DataArray:
        """Values at the samples in another order, without coordinates."""
        return xr.DataArray(_over(self.data, values).values.ravel()[order], dims=_CURVE, attrs=values.attrs)


@dataclass(frozen=True)
class Curve:
    """A curve between samples."""

    samples: np.ndarray  # coordinates of the samples, as numbers
    at: np.ndarray
    values: np.ndarray
    parts: Mapping[str, np.ndarray]  # the terms of a sum of models, by name


def one_fit_of(
    obj: xr.DataArray | xr.Dataset,
    fit: xr.Dataset,
    record: FitRecord,
    position: Mapping[str, Any],
    *,
    sigma: Any = None,
    where: Any = None,
    exposure: Any = None,
    upper_limit: Any = None,
    model: ModelArg | None = None,
    integrate: Any = None,
    response: Any = None,
) -> OneFit:
    """Select the fit and its samples by labels, and read them."""
    tell_other_model(model, record)
    data = data_of(obj, record)
    labels = known_names(obj, data)
    instrument = Instrument.of(labels, record, integrate, response)
    held: dict[str, xr.Variable] = {}
    if sigma is not None:
        given = sigma if isinstance(sigma, tuple) and len(sigma) == 2 else (sigma,)
        held = {key: bare(data, _sigma(labels, s), "sigma", data.dims) for key, s in zip(_SIGMA, given, strict=False)}
    for key, argument, mask in ((_WHERE, "where", where), (_LIMIT, "upper_limit", upper_limit)):
        if mask is not None:
            held[key] = bare(data, labels.find(argument, mask), argument, data.dims)
    divisor = exposure_of(labels, record, exposure)
    if divisor is not None:
        held[_EXPOSURE] = bare(data, divisor, "exposure", data.dims)
    in_data, in_result, shown = one_position(data, fit, record, position)
    read = data.to_dataset(name=_DATA, promote_attrs=False).assign(held).isel(in_data).compute()
    samples = read[_DATA].rename(data.name)
    if samples.ndim > 2 and len(record.inputs) > 1:
        raise ValueError(
            f"Each fit is over {samples.ndim} dims, {samples.dims}; pictures show one or two. Draw a slice of the "
            "residuals: data - fit.modelfit.evaluate(data)."
        )
    errors = [_over(samples, read[key]) for key in _SIGMA if key in held]
    if _EXPOSURE in held:
        errors = [as_rates(error, read[_EXPOSURE]) for error in errors]
        samples = as_rates(samples, read[_EXPOSURE])
    used = np.isfinite(samples.values)
    for one in coordinates(record, samples, {}):
        used &= _over(samples, one.notnull()).values
    for error in errors:
        used &= np.isfinite(error.values) & (error.values > 0)
    if _WHERE in held:
        used &= _over(samples, read[_WHERE]).values.astype(bool)
    limits = used & _over(samples, read[_LIMIT]).values.astype(bool) if _LIMIT in held else used & False
    kept = fit[record.present(fit, "fit_status", "n_points", "reduced_chi2")]
    result, here = kept.isel(in_result).compute(), instrument.at(data, in_data)
    clipped = used & _clipped(fit, record, in_result, samples)
    sides = (errors[0], errors[-1]) if errors else None
    return OneFit(samples, result, record, shown, sides, used & ~clipped, clipped, limits, model, here)


def _clipped(fit: xr.Dataset, record: FitRecord, position: Mapping[Hashable, int], samples: xr.DataArray) -> np.ndarray:
    """Which samples were clipped; none where the result does not tell, or where it is of other samples."""
    name = record.variable("clipped")
    if name in fit:
        mask = fit[name].isel(position)
        alike = dict(mask.sizes) == dict(samples.sizes) and all(
            mask.indexes[d].equals(samples.indexes[d]) for d in mask.dims if d in mask.indexes and d in samples.indexes
        )
        if alike:
            return np.asarray(mask.transpose(*samples.dims).values == 1, dtype=bool)
    return np.zeros(samples.shape, dtype=bool)


def _over(samples: xr.DataArray, array: xr.DataArray) -> xr.DataArray:
    """An array over the dims of the samples, in their order."""
    return array.broadcast_like(samples).transpose(*samples.dims)


def known_names(obj: Any, data: xr.DataArray) -> Labels:
    """What names in a call may mean: coordinates of the data, and variables of its Dataset."""
    variables = {str(n): v for n, v in plain(obj).data_vars.items()} if isinstance(obj, xr.Dataset) else {}
    return Labels(data, {**data.coords, **variables})


def data_of(obj: Any, record: FitRecord) -> xr.DataArray:
    """The data of a fit: an array, or the variable of a Dataset that was fitted."""
    data = one_variable(obj, record)
    if isinstance(data, xr.DataArray):
        return data
    raise ValueError(
        f"The fit was of {record.content['data']!r}, and the Dataset has {listed(data.data_vars)}. Pass the DataArray "
        "that was fitted."
    )


def _sigma(labels: Labels, sigma: Any) -> xr.DataArray:
    """Standard errors in the unit of the data."""
    system = UnitSystem([], measure_of(labels.data), ())
    if isinstance(sigma, Quantity) and sigma.ndim == 0:
        return xr.DataArray(float(sigma.value) * system.sigma_factor(sigma, "sigma"))
    if not isinstance(sigma, str | xr.DataArray) and np.ndim(sigma) == 0 and np.asarray(sigma).dtype.kind in "iuf":
        return xr.DataArray(float(sigma))
    array = labels.find("sigma", sigma)
    return array * system.sigma_factor(array, "sigma")
