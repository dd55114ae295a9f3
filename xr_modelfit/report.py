"""How the fits of a result ended, counted and in words."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from xr_modelfit.record import FitRecord
from xr_modelfit.status import FitStatus

__all__ = ["FitReport", "report_of", "summary"]


@dataclass(frozen=True)
class FitReport:
    """Counts of statuses; its ``str`` is a short text.

    Parameters
    ----------
    counts : dict of str to dict of FitStatus to int
        For each fit of the result, by the prefix of its variables, the number of positions with
        each status that occurs.
    """

    counts: dict[str, dict[FitStatus, int]]

    def __str__(self) -> str:
        return "\n\n".join(_text(prefix, counts) for prefix, counts in self.counts.items())

    __repr__ = __str__


def report_of(result: xr.Dataset, records: list[FitRecord]) -> FitReport:
    """Count the statuses of each fit in ``result``; computes them where they are lazy."""
    status = [result[r.variable("fit_status")].to_numpy() for r in records]
    return FitReport({r.prefix: _counts(s) for r, s in zip(records, status, strict=True)})


def summary(status: np.ndarray) -> str:
    """Failures per status on one line, the most frequent first; masked positions are no failures."""
    failed = {s: n for s, n in _counts(status).items() if s <= 0 and s != FitStatus.NO_DATA}
    return ", ".join(f"{n} {s.meaning}" for s, n in sorted(failed.items(), key=lambda item: -item[1]))


def _counts(status: np.ndarray) -> dict[FitStatus, int]:
    codes, counts = np.unique(status, return_counts=True)
    found = {FitStatus(int(c)): int(n) for c, n in zip(codes, counts, strict=True)}
    return {s: found[s] for s in FitStatus if s in found}


def _text(prefix: str, counts: dict[FitStatus, int]) -> str:
    total = sum(counts.values())
    good = sum(n for s, n in counts.items() if s > 0)
    title = f"{prefix.removesuffix('_')}: " if prefix else ""
    lines = [f"{title}{total} fits, {good} successful" + (f" ({_percent(good, total)})" if total else "")]
    width = max((len(str(n)) for n in counts.values()), default=1)
    for status, n in counts.items():
        lines.append(f"  {n:>{width}}  {status.meaning:<18}  {status.sentence}")
    return "\n".join(lines)


def _percent(part: int, total: int) -> str:
    """A share that reads 100 % only if it is all, and 0 % only if it is none."""
    share = 100 * part / total
    if 0 < part < total:
        share = min(max(share, 0.1), 99.9)
    return f"{share:.1f} %"
