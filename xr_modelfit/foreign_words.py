"""Words of other fitting functions (curvefit, polyfit, scipy, lmfit), and what they are called here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xr_modelfit.foreign_options import OPTIONS
from xr_modelfit.messages import starts_by_name, suggestion

__all__ = ["WORDS", "Call", "loss_of", "refuse_foreign", "refuse_more"]

_SIGMA = "'sigma'? It takes the standard errors of the data: sigma={word}"
_WHERE = "'where'? It is True where a sample is used: where=~mask for a mask that is True at bad samples"
_DIM = "'dim'? It names the dimensions that each fit consumes: dim='time'"
_P0 = "'p0'? It takes start values by parameter: p0={'{name}': 2.0}; the model's own values are the default"
_FIXED = (
    "model.{name}.fixed = True, set on the model before the call? Equal bounds fix a parameter too, also in a map: "
    "bounds={'{name}': ({value}, {value})}"
)
_FIXED_OF_FUNCTION = "equal bounds? They fix a parameter: bounds={'{name}': ({value}, {value})}"
_TIED = "model.{name}.tied = lambda m: 2 * m.{other}, set on the model before the call"
_TIED_OF_FUNCTION = (
    "a tie? A function has none: compute '{name}' from '{other}' inside it, or make it a model, for which its "
    "arguments need defaults: model = astropy.modeling.custom_model({function})(), model.{name}.tied = lambda m: "
    "2 * m.{other}"
)
_BOUNDS = "'bounds'? It takes a pair by parameter: bounds={'{name}': (0, None)}"
_FITTER = "'fitter'? For example fitter=BatchLSQFitter(maxiter=500), or an astropy fitter such as fitter=TRFLSQFitter()"
_ROBUST = (
    "an option of the fitter? fitter=BatchLSQFitter(loss='huber', f_scale='mad') weighs outliers down, "
    "fitter=BatchLSQFitter(clip=(3, 3)) leaves them out, fitter=BatchLSQFitter(loss='poisson') fits counts"
)
_COUNTS = "the loss of counts? fitter=BatchLSQFitter(loss='poisson'), without sigma"
_COORDS = "'coords'? It says what the model's inputs read: coords={'x': 'wavelength'}"
_CORES = "'scheduler'? Data in memory are fitted on all cores without it; scheduler='processes' names one"
_CHUNKS = "'fits_per_chunk'? Or chunk the data: data.chunk(y=100)"
_DEGREE = "a model of that degree? Polynomial1D(degree=2), the first argument"
_MODEL = "'model'? It comes first: data.modelfit(model, dim)"
_COVARIANCE = "'covariance'? covariance=True adds the covariance matrix; standard errors are always there"
_ABSOLUTE = "'absolute_sigma'? absolute_sigma=False rescales the errors by the residuals"

_GROUPS: dict[str, Iterable[str]] = {
    _SIGMA: [
        "error", "err", "std", "stderr", "stddev", "yerr", "y_err", "uncertainty", "uncertainties", "dy", "rms",
    ],
    "'sigma'? sigma=variance ** 0.5 takes the standard errors": ["var", "variance", "yvar"],
    "'sigma'? sigma=ivar ** -0.5 takes the standard errors": ["ivar", "invvar", "inverse_variance"],
    "'noise'? noise='ar1' takes samples for correlated; a DataArray is their covariance": [
        "ar1", "autocorrelation", "correlation", "correlated", "rho", "noise_covariance", "data_covariance",
    ],
    _WHERE: ["mask", "masked", "good", "valid", "flags", "flag", "exclude", "bad"],
    _DIM: [
        "dims", "axis", "axes", "reduce_dims", "reduce_dim", "fitting_axes", "along", "over", "dimension", "dimensions",
        "input_core_dims", "core_dims", "fit_dims",
    ],
    _P0: [
        "guess", "guesses", "initial", "initial_guess", "init", "start", "starts", "x0", "params", "parameters",
        "param_defaults", "start_values", "beta0",
    ],
    _FIXED: ["fixed", "fix", "vary", "frozen", "hold"],
    _TIED: ["tied", "expr", "constraints", "ties", "link"],
    _BOUNDS: ["min", "max", "limits", "lower", "upper", "lb", "ub", "ranges"],
    _FITTER: ["method", "solver", "optimizer", "minimizer", "algorithm", "fit_method", "fitter_class"],
    _ROBUST: ["loss", "f_scale", "robust", "sigma_clip", "clip", "outliers"],
    _COUNTS: ["statistic", "stat", "likelihood", "distribution", "family", "poisson", "cash", "cstat", "counts"],
    _COORDS: ["x", "xdata", "x_data", "coord", "coordinate", "coordinates", "world", "wcs", "independent_vars", "t"],
    _CORES: ["n_jobs", "njobs", "workers", "num_workers", "n_workers", "processes", "cores", "parallel", "n_cores"],
    _CHUNKS: ["chunks", "chunk", "chunksize", "chunk_n_max"],
    _DEGREE: ["deg", "degree", "order"],
    _MODEL: ["func", "function", "f", "fun", "models"],
    _COVARIANCE: ["cov", "full", "full_output", "pcov", "return_cov", "calc_uncertainties", "calc_covar"],
    _ABSOLUTE: ["scale_covar", "absolute", "rescale"],
    "'skipna'? skipna=False gives fits with missing samples a status of their own": [
        "nan_policy", "skip_na", "dropna", "check_finite", "filter_non_finite",
    ],
    "'coord_sigma'? It takes standard errors of the coordinate": ["xerr", "x_err", "dx", "sx", "sigma_x", "x_sigma"],
    "'upper_limit'? It is True where the datum is an upper limit": ["upper_limits", "uplims", "censored", "limit"],
    "'weights'? They multiply the residuals; for standard errors, sigma=": ["w", "weight"],
    "'priors'? It takes a mean and a standard deviation by parameter: priors={'stddev': (120, 10)}": [
        "prior", "gaussian_priors", "penalty", "penalties", "regularization",
    ],
    "'exposure'? It takes the time or the area of counts, beside fitter=BatchLSQFitter(loss='poisson')": [
        "exptime", "exposure_time", "livetime", "live_time", "effective_area",
    ],
    "'fitter_kwargs'? It goes to the call of an astropy fitter": [
        "kwargs", "fit_kws", "options", "optimizer_kwargs", "fitting_kwargs",
    ],
    "'progress'? progress=True shows a bar": ["verbose", "disp", "show_progress", "verblevel", "iprint"],
    "'prefix'? It is put before every output name": ["name", "suffix", "names"],
    "attrs['units'] of data and coordinates? They are read from there": ["unit", "units", "data_unit"],
    "the derivatives of the model itself? They are found without an argument": ["jac", "jacobian", "dfun", "fit_deriv"],
}  # fmt: skip
WORDS = OPTIONS | {word: f"Did you mean {advice}." for advice, words in _GROUPS.items() for word in words}


@dataclass(frozen=True)
class Call:
    """What a call says, for answers in its own words."""

    names: Sequence[str] = ()  # of its parameters
    function: str = ""  # the name of the function that is its model, if it is one
    starts: Any = None


def refuse_foreign(given: Iterable[str], known: Iterable[str] = (), call: Callable[[], Call] | None = None) -> None:
    """Refuse arguments that other fitting functions have, and say what they are called here.

    ``given`` may be a mapping with the values as well. With ``known``, all others than those are refused.
    """
    known = list(known)
    for word in given:
        if word in known:
            continue
        value = given[word] if isinstance(given, Mapping) else None
        if (advice := WORDS.get(word.lower())) is not None:
            meant = _in_words_of(call() if call else Call(), advice, word, value)
            raise TypeError(f"fit() got an unexpected keyword argument {word!r}. {meant}")
        if known:
            raise TypeError(
                f"fit() got an unexpected keyword argument {word!r}.{suggestion(word, known)} Its arguments are in the "
                "documentation: help(xr_modelfit.fit)."
            )


def _in_words_of(call: Call, advice: str, word: str, value: Any) -> str:
    """The advice with the names and values of the call in it."""
    if word in _OF_LOSS and (loss := loss_of(value)) is not None:
        return f"Did you mean an option of the fitter?{loss}"
    if call.function:
        advice = advice.replace(_FIXED, _FIXED_OF_FUNCTION).replace(_TIED, _TIED_OF_FUNCTION)
    told = value if isinstance(value, Mapping | list | tuple | set) else [value]
    names = [n for n in call.names if n in [str(one) for one in told]] or list(call.names[:1]) or ["amplitude"]
    other = next((n for n in call.names if n not in names), "stddev")
    starts = [one.get(names[0]) for one in (value, call.starts) if isinstance(one, Mapping)]
    number = next((f"{v:.6g}" for v in starts if isinstance(v, int | float) and not isinstance(v, bool)), "value")
    fields = {"word": word, "name": names[0], "other": other, "value": number, "function": call.function}
    for field, text in fields.items():
        advice = advice.replace(f"{{{field}}}", text)
    return advice


_OF_LOSS = ("loss", "statistic", "stat", "likelihood", "distribution", "family", "robust")
_LOSSES = ("soft_l1", "huber", "cauchy", "arctan")
_COUNTED = ("poisson", "poissonian", "cash", "cstat", "c-stat", "mle")


def loss_of(value: Any) -> str | None:
    """A sentence that tells how a loss is asked for, if ``value`` is the name of one; else None."""
    if not isinstance(value, str):
        return None
    if value.lower() in _COUNTED:
        return " Counts are fitted by fitter=BatchLSQFitter(loss='poisson'), without sigma and weights."
    return f" A loss is an option: fitter=BatchLSQFitter(loss={value.lower()!r})." if value.lower() in _LOSSES else None


def refuse_more(given: Sequence[Any], names: Sequence[str] = ()) -> None:
    """Refuse arguments by position, after ``model`` and ``dim``, and say how they are written.

    ``names`` are those of the parameters, where they are known.
    """
    if not given:
        return
    meant = given[0]
    if isinstance(meant, str):
        how = f"Several dims are one tuple: dim=('time', {meant!r})."
    elif isinstance(meant, Mapping):
        how = "Start values are p0={...}, bounds are bounds={...}."
    elif starts := next((found for one in given if (found := starts_by_name(one, names))), None):
        how = f"Start values are {starts}."
    else:
        how = "For example sigma=..., p0={...}."
    raise TypeError(f"fit() takes model and dim by position, and got {len(given)} more. Name them. {how}")
