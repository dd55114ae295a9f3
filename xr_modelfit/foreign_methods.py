"""Functions, methods and parameters of other fitting packages (lmfit, scipy, xarray), and what they are called here."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from xr_modelfit.messages import listed

__all__ = ["PARAMETERS", "WORDS", "no_such_function", "no_such_method", "same_parameter"]

_REPORT = "fit.modelfit.report() counts how the fits ended and names the worst"
_EVALUATE = "fit.modelfit.evaluate(data) is the fitted model with the labels of the data"
_RESIDUALS = "fit.modelfit.residuals(data) is the data minus the fitted model"
_PARAMS = "fit.modelfit.params has the parameters, and each is a variable of the result: fit['amplitude']"
_ERRORS = "standard errors are variables of the result: fit['amplitude_stderr']"
_COVARIANCE = (
    "data.modelfit(model, dim, covariance=True) adds the variable fit['covariance'], and so does "
    "fit.modelfit.with_covariance(data) afterwards"
)
_STATUS = "fit['fit_status'] has one code per fit, and fit.modelfit.ok is True where it succeeded"
_FILE = "a result is a Dataset: fit.to_netcdf(path) or fit.to_zarr(path) writes it, with the record of the fit"
_FITS = "xr_modelfit.to_hdulist(fit).writeto(path) writes a result as FITS"
_PLOT = "fit.modelfit.plot() draws the maps of a result, and data.modelfit.plot_fit(fit, y=0, x=0) one fit"
_FIT = "call it, data.modelfit(model, dim), or the function xr_modelfit.fit(data, model, dim)"
_AGAIN = "fit.modelfit.refit(data) fits again where fits failed, and p0=fit starts from a result"
_START = "data.modelfit.estimate(model, dim) gives start values, and the call takes them: p0='estimate'"
_CRITERION = (
    "with sigma given, it is fit['chi2'] + {penalty}; without, n * log(fit['chi2'] / n) + {penalty}, where "
    "n is fit['n_points'] and k is n - fit['dof']"
)
_INTERVAL = (
    "errors are fit['amplitude_stderr'], and an interval is fit['amplitude'] -+ t * fit['amplitude_stderr'] with "
    "t from scipy.stats.t.ppf(0.975, fit['dof'])"
)
_MODEL = "models are astropy's, such as astropy.modeling.models.Gaussian1D(1, 0, 1), or plain functions"
_STARTS = "start values are numbers on the model, Gaussian1D(amplitude=1, mean=0), or p0={'mean': 0}"
_FITTER = "the argument fitter= takes BatchLSQFitter(), or an astropy fitter such as TRFLSQFitter()"
_STATISTICS = "they are variables: fit['chi2'], fit['reduced_chi2'], fit['dof'], fit['n_points'], fit['n_iter']"
_DERIVED = "fit.modelfit.derived() computes it with its error, for example derived('flux')"

_GROUPS: dict[str, Iterable[str]] = {
    _REPORT: ["fit_report", "summary", "pprint", "pretty_print", "ci_report", "message", "ier", "describe", "info"],
    _EVALUATE: ["best_fit", "eval", "evaluated", "model_cube", "fitted", "fittedvalues", "polyval", "yfit", "best"],
    "fit.modelfit.components(data) has the parts of a compound model": ["eval_components", "parts"],
    "fit.modelfit.predict(data) is the fitted model with its standard error": [
        "eval_uncertainty", "uncertainty", "prediction", "confidence_band", "dely",
    ],
    _RESIDUALS: ["residual", "resid", "res", "fvec", "fun"],
    _PARAMS: [
        "best_values", "parameters", "values", "popt", "coefficients", "coef", "coeffs", "x", "curvefit_coefficients",
        "polyfit_coefficients", "param_names", "var_names", "valuesdict", "parameter",
    ],
    _ERRORS: ["stderr", "perr", "bse", "uncertainties", "errors", "std", "sigma", "uvars", "error"],
    _COVARIANCE: ["covar", "cov", "cov_x", "pcov", "cov_matrix", "curvefit_covariance", "param_cov", "correl"],
    _STATUS: ["success", "converged", "status", "errorbars", "flags", "valid", "mask", "failed", "nfev_ok"],
    _FILE: ["save", "dump", "dumps", "write", "to_netcdf", "save_modelresult", "to_csv", "to_pickle", "to_file"],
    "a result is a Dataset: fit.to_dataframe() makes a table of it": ["to_pandas", "to_dataframe", "to_table"],
    _FITS: ["to_fits", "write_fits", "writeto", "to_hdu", "to_hdulist"],
    "xr_modelfit.from_fits(path) reads a cube, a spectrum or maps": ["read_fits", "open_fits", "read", "load", "open"],
    _PLOT: ["plot_residuals", "plot_best_fit", "draw", "imshow", "show", "plot_map", "plot_maps", "hist", "plot1d"],
    "fit.modelfit.plot_hist() draws histograms of the parameters": ["histogram", "plot_histogram"],
    _FIT: ["fit", "curvefit", "curve_fit", "polyfit", "minimize", "leastsq", "least_squares", "run", "modelfit",
           "parallel_fit_dask", "optimize", "Fit", "lmfit", "xfit", "linregress", "lstsq"],
    _AGAIN: ["fit_again", "restart", "repeat"],
    _START: ["guess", "initial_guess", "init_fit", "init_params", "make_params", "init_values", "guesses", "starts"],
    _CRITERION.format(penalty="2 * k"): ["aic", "AIC", "aicc", "akaike"],
    _CRITERION.format(penalty="k * log(n)"): ["bic", "BIC"],
    _INTERVAL: ["conf_interval", "ci_out", "conf_int", "confidence_interval", "conf_interval2d", "emcee", "interval"],
    "1 - fit['chi2'] / ((data - data.mean(dim)) ** 2).sum(dim) is R squared of a fit without sigma": [
        "rsquared", "r2", "rvalue", "R2", "r_squared", "score",
    ],
    "fit.modelfit.p_value('slope') is the p-value of a parameter": [
        "pvalue", "pvalues", "p_values", "tvalues", "ftest", "ttest",
    ],
    _STATISTICS: [
        "redchi", "chisqr", "chisq", "reduced_chisqr", "nfree", "ndata", "nfev", "nvarys", "chi2", "reduced_chi2",
        "dof", "n_points", "n_iter", "nit", "cost", "redchi2", "fit_info", "rms", "fit_status",
    ],
    _DERIVED: ["flux", "fwhm", "height", "area", "equivalent_width", "integral", "trend"],
    _MODEL: [
        "Model", "Models", "models", "Gaussian1D", "GaussianModel", "LorentzianModel", "VoigtModel", "LinearModel",
        "ExponentialModel", "Polynomial1D", "Linear1D", "Lorentz1D", "custom_model", "Gaussian", "CompositeModel",
    ],
    _STARTS: ["Parameters", "Parameter", "create_params"],
    _FITTER: ["Minimizer", "Fitter", "fitter", "TRFLSQFitter", "LevMarLSQFitter", "LMLSQFitter", "fitters", "fitting"],
}  # fmt: skip
WORDS = {word: advice for advice, words in _GROUPS.items() for word in words}

_PARAMETERS: dict[str, Iterable[str]] = {
    "mean": ["center", "centre", "mu", "x0", "x_0", "centroid", "position", "loc", "cen"],
    "x_0": ["center", "centre", "mu", "x0", "mean", "x_mean", "centroid", "position", "loc", "cen"],
    "x_mean": ["x0", "x_0", "xo", "mean_x", "xcen"],
    "y_mean": ["y0", "y_0", "yo", "mean_y", "ycen"],
    "stddev": ["sigma", "width", "std", "sig", "scale", "dispersion"],
    "fwhm": ["width", "gamma", "sigma"],
    "fwhm_L": ["gamma", "fwhm"],
    "fwhm_G": ["sigma"],
    "amplitude": ["amp", "height", "peak", "a", "ampl", "norm", "flux", "intensity", "scale", "a0"],
    "amplitude_L": ["amplitude", "amp", "height"],
    "slope": ["m", "b", "trend", "gradient", "a"],
    "intercept": ["offset", "const", "c", "b", "constant", "a", "q"],
    "c0": ["intercept", "offset", "const"],
    "c1": ["slope", "trend"],
    "tau": ["decay", "lifetime", "decay_time", "t1", "t2", "rate"],
    "frequency": ["freq", "f", "omega", "nu", "period"],
    "phase": ["phi", "shift"],
    "alpha": ["exponent", "index", "power", "slope"],
}
PARAMETERS = {ours: frozenset(theirs) for ours, theirs in _PARAMETERS.items()}


def same_parameter(word: str, names: Iterable[str]) -> list[str]:
    """Those of the parameters that others call ``word``; of a compound, of each part.

    Examples
    --------
    >>> same_parameter("center", ["amplitude", "mean", "stddev"])
    ['mean']
    """
    word = word.lower()
    found = []
    for name in names:
        bare, _, number = name.rpartition("_")
        own = bare if number.isdigit() and bare in PARAMETERS else name
        if word in PARAMETERS.get(own, ()):
            found.append(name)
    return found


def no_such_method(
    owner: str, name: str, known: Iterable[str], of_results: Iterable[str] = (), variables: Iterable[str] = ()
) -> AttributeError:
    """The error for an attribute that the accessor does not have.

    ``owner`` lacks it, such as ``DataArray.modelfit``, and has the attributes ``known``. Where this is data,
    ``of_results`` are the attributes of a result; where it is a result, ``variables`` are its variables.
    """
    start = f"{owner!r} has no attribute {name!r}."
    if name.startswith("_"):  # asked for by Python, notebooks and the like
        return AttributeError(start)
    known, of_results = list(known), list(of_results)
    if name in variables:
        return AttributeError(f"{start} It is a variable of the result: fit[{name!r}].")
    if name in of_results:
        return AttributeError(
            f"{start} It is there on a result, not on data: fit = data.modelfit(model, dim), then "
            f"fit.modelfit.{name}{'' if name in ('ok', 'params') else '(...)'}.{_also(name)}"
        )
    return AttributeError(f"{start} {_advice(name, known, of_results)}")


def no_such_function(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """The error for a name that the package does not have."""
    start = f"module {module!r} has no attribute {name!r}"
    if name.startswith("_"):
        return AttributeError(start)
    return AttributeError(f"{start}. {_advice(name, known)}")


def _also(name: str) -> str:
    return " data.plot() is xarray's own plot of the data." if name == "plot" else ""


def _advice(name: str, known: Iterable[str], others: Iterable[str] = ()) -> str:
    """What ``name`` is called here, or what it resembles, or else what there is."""
    known, advice = list(known), WORDS.get(name) or WORDS.get(name.lower())
    if advice is not None:
        return f"In xr_modelfit, {advice}."
    names = [*known, *others]
    alike = [k for k in names if k.lower() == name.lower()] or get_close_matches(name, names, n=1, cutoff=0.7)
    return f"Did you mean {alike[0]!r}?" if alike else f"There are {listed(known)}."
