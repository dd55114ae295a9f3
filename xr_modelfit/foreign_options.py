"""Options of other fitters, such as ``maxfev``, and what they are called here: each answer names one that exists."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xr_modelfit.messages import listed, suggestion

__all__ = ["OPTIONS", "option_of", "refuse_foreign_options"]


@dataclass(frozen=True)
class _Meant:
    """What an option of another fitter is here."""

    ours: str | None  # the option of BatchLSQFitter
    theirs: str | None  # the option in the call of an astropy fitter
    note: str = ""  # a sentence more

    @property
    def sentence(self) -> str:
        """What to write in a call that has the option among its arguments."""
        beside = f"fitter_kwargs={{{self.theirs!r}: ...}} beside an astropy fitter"
        if self.ours is not None:
            way = f"fitter=BatchLSQFitter({self.ours}=...)" + (f", or {beside}" if self.theirs else "")
            return f"Did you mean the option {self.ours!r} of the fitter? {way}.{self.note}"
        if self.theirs is not None:
            return f"Did you mean {beside} that takes it? BatchLSQFitter has no such option.{self.note}"
        return f"No fitter has it here.{self.note}"


_EVALUATIONS = " It counts iterations, not evaluations of the model."
_STEPS = " It derives the model exactly, or finds the steps of differences out itself."
_GROUPS = [
    (_Meant("maxiter", "maxiter"), "maxiter max_iter n_iter iterations niter max_iterations itmax nit"),
    (_Meant("maxiter", "maxiter", _EVALUATIONS), "maxfev max_nfev maxfun maxfcn max_eval maxeval max_fev"),
    (_Meant("ftol", "acc"), "ftol tol tolerance acc fatol eps rtol"),
    (_Meant("xtol", "acc"), "xtol xatol"),
    (_Meant("gtol", "acc"), "gtol"),
    (_Meant("engine", None), "engine backend numba jit parallel"),
    (_Meant(None, "epsilon", _STEPS), "epsilon epsfcn diff_step eps_fcn"),
    (_Meant(None, "estimate_jacobian", _STEPS), "estimate_jacobian"),
    (_Meant(None, None, " BatchLSQFitter scales the parameters itself: leave it out."), "x_scale diag factor"),
    (_Meant(None, None, " Each step of BatchLSQFitter is solved for exactly: leave it out."), "tr_solver tr_options"),
    (_Meant(None, None, " No function is called at each iteration: leave it out."), "iter_cb callback"),
    (_Meant(None, None, " What the model derives is known without it: leave it out."), "col_deriv jac_sparsity"),
]
_MEANT = {word: meant for meant, words in _GROUPS for word in words.split()}
OPTIONS = {word: meant.sentence for word, meant in _MEANT.items()}
_OTHER_WAYS = ("method", "algorithm", "solver", "optimizer")


def option_of(word: str, known: Iterable[str]) -> str | None:
    """The option that is meant by ``word``: one of the ``known`` ones of a fitter, or None."""
    known = list(known)
    meant = _MEANT.get(word.lower(), _Meant(None, None))
    return next((name for name in (word, meant.ours, meant.theirs) if name in known), None)


def refuse_foreign_options(given: Iterable[str], known: Iterable[str], of_fit: Iterable[str]) -> None:
    """Refuse options that `BatchLSQFitter` does not have, and say what they are called here.

    ``of_fit`` are the arguments of the call itself.
    """
    known = list(known)
    for word in (w for w in given if w not in known):
        meant = _MEANT.get(word.lower())
        if word in of_fit:
            hint = f" It is an argument of the fit: data.modelfit(model, dim, {word}=...)."
        elif word.lower() in _OTHER_WAYS:
            hint = (
                " It is least squares by Levenberg-Marquardt; for another way take an astropy fitter, TRFLSQFitter()."
            )
        elif meant is None:
            hint = suggestion(word, known)
        else:
            hint = f" Did you mean {meant.ours!r}?{meant.note}" if meant.ours else meant.note
        raise TypeError(
            f"BatchLSQFitter() got an unexpected keyword argument {word!r}.{hint} Its options are {listed(known)}."
        )
