"""The fitter of a call: checked, and tried before any sample is read."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from astropy.modeling.fitting import Fitter, FittingWithOutlierRemoval

from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.fitters.block_task import Role
from xr_modelfit.fitters.pixelwise import PixelwiseFitter, WrongKeywordsError
from xr_modelfit.foreign_options import option_of
from xr_modelfit.foreign_words import loss_of
from xr_modelfit.messages import a, listed, sentence, suggestion
from xr_modelfit.models.expression import has_fixed_inputs
from xr_modelfit.models.problem import Problem

__all__ = ["choose_fitter", "own_info", "refuse_clipped"]

OWN_INFO = ("start", "n_reached", "clipped")  # told whatever the fitter


def own_info(asked: Any) -> tuple[set[str], Any]:
    """What ``fit_info`` asks of any fit, and what is asked of the fitter."""
    names = [asked] if isinstance(asked, str) else list(asked) if isinstance(asked, list | tuple) else []
    ours = {name for name in names if name in OWN_INFO}
    if not ours:
        return ours, asked
    rest = [name for name in names if name not in ours]
    return ours, rest or None


def choose_fitter(
    problem: Problem,
    maps: Mapping[Role, Any],
    probe: list[np.ndarray],
    weighted: bool,
    fitter: Any,
    keywords: Mapping[str, Any] | None,
    info: Any,
) -> BatchLSQFitter | PixelwiseFitter:
    """The fitter of the call, tried once on the model's own values at ``probe``.

    Raises TypeError if ``fitter`` is no fitter instance, or does not know a keyword; ValueError if it cannot do this
    model or its constraints, or does not give a number of ``info``.
    """
    fitter = BatchLSQFitter() if fitter is None else fitter
    if keywords is not None and not isinstance(keywords, Mapping):
        raise TypeError(f"fitter_kwargs is {a(keywords)}; pass a mapping, for example {{'maxiter': 500}}.")
    if not isinstance(info, str | bool | list | tuple | None):
        raise TypeError(f"fit_info is {info!r}; pass names of numbers in the fitter's fit_info, or True for all.")
    if isinstance(fitter, BatchLSQFitter):
        return _batch(fitter, keywords, info)
    if isinstance(fitter, type):
        raise TypeError(f"fitter is the class {fitter.__name__}; pass an instance, {fitter.__name__}().")
    if not callable(fitter) or not (isinstance(fitter, Fitter) or hasattr(fitter, "fit_info")):
        raise TypeError(
            f"fitter is {a(fitter)}; pass an instance of an astropy fitter, for example TRFLSQFitter()."
            f"{loss_of(fitter) or ''}"
        )
    name = type(fitter).__name__
    if isinstance(getattr(fitter, "fitter", None), BatchLSQFitter):
        raise TypeError(
            f"fitter is {name} around BatchLSQFitter, which fits many positions at once and cannot be called for one. "
            f"Give it an astropy fitter, {name}(TRFLSQFitter(), ...); or leave outliers out by where= and fit again."
        )
    _check_inputs(problem)
    found = PixelwiseFitter(fitter, dict(keywords or {}))
    unknown, known = found.unknown_keywords()
    own = [k for k in ("weights", "inplace", "equivalencies") if k in found.keywords]
    if own:
        raise TypeError(f"fitter_kwargs has {own[0]!r}, which the fit sets itself. Use the argument of fit instead.")
    if unknown:
        raise TypeError(
            f"fitter_kwargs has {unknown[0]!r}, which {name} does not know; it knows {listed(known)}."
            f"{suggestion(option_of(unknown[0], known) or unknown[0], known)}"
        )
    try:
        left = found.try_out(_with_bounds_of_maps(problem, maps), probe, weighted)
    except WrongKeywordsError as error:
        raise TypeError(
            f"fitter_kwargs is {dict(found.keywords)!r}, with which {name} cannot work: {sentence(error)} "
            "Correct or remove the option."
        ) from error
    except Exception as error:
        raise ValueError(
            f"fitter is {name}, which cannot do this fit: {sentence(error)} Take another one, for example "
            "TRFLSQFitter(), or change the model's constraints."
        ) from error
    return PixelwiseFitter(fitter, found.keywords, _info_names(info, left, name))


def _batch(fitter: BatchLSQFitter, keywords: Mapping[str, Any] | None, info: Any) -> BatchLSQFitter:
    if keywords:
        first, known = str(next(iter(keywords))), [one.name for one in fields(fitter)]
        if (option := option_of(first, known)) is None:
            BatchLSQFitter(**{first: keywords[first]})  # it says what is meant
        raise TypeError(
            f"fitter_kwargs is {dict(keywords)!r}, but BatchLSQFitter has its options on the instance: "
            f"fitter=BatchLSQFitter({option}=...)."
        )
    if info is not None and info is not False:
        raise ValueError(
            f"fit_info is {info!r}, but the result holds all that BatchLSQFitter knows of a fit already. Leave it out, "
            f"name one of {listed(OWN_INFO)}, or name an astropy fitter."
        )
    return fitter


def refuse_clipped(fitter: BatchLSQFitter | PixelwiseFitter) -> None:
    """Refuse to tell which samples were clipped, where the fitter leaves none out.

    Raises
    ------
    ValueError
    """
    if isinstance(fitter, BatchLSQFitter):
        clips, name = fitter.clip is not None, "BatchLSQFitter has no clip="
    else:
        clips = isinstance(fitter.fitter, FittingWithOutlierRemoval)
        name = f"{type(fitter.fitter).__name__} is its fitter"
    if not clips:
        raise ValueError(
            f"fit_info names 'clipped', but this fit leaves no sample out for its residual: {name}. Pass "
            "fitter=BatchLSQFitter(clip=(3, 3)), or leave 'clipped' out."
        )


def _check_inputs(problem: Problem) -> None:
    inputs = problem.model.inputs
    if problem.sees_others:  # the fitter gets numbers of samples
        return
    if len(inputs) > 2:
        raise ValueError(
            f"model has {len(inputs)} inputs {listed(inputs)}, but astropy's fitters take one or two. Leave fitter "
            "out, or write it as a custom_model of fewer inputs."
        )
    if has_fixed_inputs(problem.model):
        raise ValueError(
            "model holds some inputs by fix_inputs, which astropy's fitters cannot fit. Leave fitter out, or write it "
            "as a custom_model of fewer inputs."
        )


def _with_bounds_of_maps(problem: Problem, maps: Mapping[Role, Any]) -> Problem:
    """The problem with a bound wherever a map will bring one, so that the fitter can refuse it."""
    if not any(role.kind in ("lower", "upper") for role in maps):
        return problem
    lower, upper, model = problem.lower.copy(), problem.upper.copy(), problem.model.copy()
    for role in maps:
        if role.kind in ("lower", "upper"):
            j = int(role.name)
            span = 1.0 + abs(problem.start[j])
            lower[j], upper[j] = problem.start[j] - span, problem.start[j] + span
            getattr(model, model.param_names[j]).bounds = (lower[j], upper[j])
    return replace(problem, model=model, lower=lower, upper=upper)


def _info_names(asked: Any, info: Mapping[str, Any], fitter: str) -> tuple[str, ...]:
    if asked is None or asked is False:
        return ()
    if not info and asked is not True:  # the fitter could not be tried; what it does not give is NaN
        return (asked,) if isinstance(asked, str) else tuple(asked)
    numbers = [n for n, v in info.items() if isinstance(v, int | float | bool | np.number | np.bool_)]
    if asked is True:
        return tuple(numbers)
    names = (asked,) if isinstance(asked, str) else tuple(asked)
    for name in names:
        if name not in numbers:
            what = "is no single number" if name in info else "is not there"
            raise ValueError(
                f"fit_info names {name!r}, which {what} in the fit_info of {fitter}; numbers there are "
                f"{listed(numbers)}.{suggestion(name, numbers)}"
            )
    return names
