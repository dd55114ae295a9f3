"""What became of a fit: one code and one sentence each.

Positive codes are successes. Codes are written to files, so they are never renumbered.
"""

from enum import IntEnum

__all__ = ["FitStatus"]


class FitStatus(IntEnum):
    """Status of one fit; positive means that its parameters can be used.

    Examples
    --------
    >>> FitStatus.CONVERGED > 0
    True
    >>> FitStatus(-4).meaning
    'too_few_points'
    """

    CONVERGED = 1
    CONVERGED_AT_BOUND = 2
    NOT_ATTEMPTED = 0
    MAX_ITERATIONS = -1
    NO_PROGRESS = -2
    DEGENERATE = -3
    TOO_FEW_POINTS = -4
    NO_DATA = -5
    NONFINITE_DATA = -6
    INVALID_START = -7
    NONFINITE_MODEL = -8
    FITTER_ERROR = -9
    FITTER_WARNING = -10

    @property
    def meaning(self) -> str:
        """The status as one word, as CF ``flag_meanings`` has it."""
        return self.name.lower()

    @property
    def sentence(self) -> str:
        """Cause and remedy in one sentence."""
        return _SENTENCES[self]


_SENTENCES = {
    FitStatus.CONVERGED: "The fit converged.",
    FitStatus.CONVERGED_AT_BOUND: "The fit converged with a parameter on its bound; that parameter has no error.",
    FitStatus.NOT_ATTEMPTED: "The fit was not attempted: this part of the store has not been written.",
    FitStatus.MAX_ITERATIONS: "The fitter reached its limit of iterations; allow more, or start nearer.",
    FitStatus.NO_PROGRESS: (
        "The start may be far off: the fitter stopped before a minimum; start nearer, or take another fitter."
    ),
    FitStatus.DEGENERATE: (
        "The start may be where the model is flat, or the samples do not determine all free parameters; start "
        "elsewhere, or fix or tie some."
    ),
    FitStatus.TOO_FEW_POINTS: "There are fewer valid samples than free parameters (or than min_points).",
    FitStatus.NO_DATA: "There is no valid sample.",
    FitStatus.NONFINITE_DATA: (
        "A sample is not finite and skipna=False, or a coordinate or response that the whole fit needs; or noise has "
        "no valid covariance."
    ),
    FitStatus.INVALID_START: "The start is not finite or outside its bounds, or a prior's deviation is not positive.",
    FitStatus.NONFINITE_MODEL: (
        "The model is not finite at the start or at the samples (of counts: it is not positive, or a sample is "
        "negative); start elsewhere or set bounds."
    ),
    FitStatus.FITTER_ERROR: "The fitter raised an error.",
    FitStatus.FITTER_WARNING: "The fitter warned that the fit may be unsuccessful.",
}
