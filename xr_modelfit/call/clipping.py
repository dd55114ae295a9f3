"""What is said of a clip that can leave no sample out.

Of n numbers, the furthest from the median, in standard deviations, is largest if all others are as close to the median
and to the mean as they can be: half of them at the median, at least, and the rest at the mean. With ``a`` of them at
the median, its distance is ``sqrt(n (a + 1) / a)``. ``a`` is at least ``(n + 1) / 2``, so that the distance is below
``sqrt(n + 2)``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from xr_modelfit.call.failures import FitWarning
from xr_modelfit.call.job import Job
from xr_modelfit.fitters.batch import BatchLSQFitter
from xr_modelfit.messages import outside_level

__all__ = ["tell_idle_clip"]


def tell_idle_clip(jobs: Sequence[Job]) -> None:
    """Warn once of a clip that is wider than the residuals of so few samples can be; no sample is read."""
    for job in jobs:
        fitter, n = job.fitter, math.prod(job.samples.values())
        if not isinstance(fitter, BatchLSQFitter) or fitter.clip is None or job.options.errors == "ignore" or not n:
            continue
        given = [side for side in fitter.clip if math.isfinite(side)]
        idle = [side for side in given if side >= math.sqrt(n + 2)]
        if not idle:
            continue
        pair = ", ".join(f"{side:g}" for side in fitter.clip)
        sides = "" if len(idle) == len(given) else f" on the side of {idle[0]:g}"
        warnings.warn(
            f"clip=({pair}) leaves no sample out{sides}: of the {n} samples of a fit, none can be more than sqrt({n} + "
            f"2) = {math.sqrt(n + 2):.2g} standard deviations from their median, since an outlier widens the standard "
            'deviation too. Clip at less, or take BatchLSQFitter(loss="cauchy", f_scale="mad").',
            FitWarning,
            stacklevel=outside_level(),
        )
        return
