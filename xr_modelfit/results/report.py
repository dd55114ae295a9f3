"""How the fits of a result ended: counted, in words, and which are worst."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import xarray as xr

from xr_modelfit.analysis.ignored import ignored_parameters
from xr_modelfit.messages import listed
from xr_modelfit.records.record import FitRecord, RecordError, build_model
from xr_modelfit.results.positions import label_text, labels_at, place_text
from xr_modelfit.results.rates import of_counts
from xr_modelfit.results.selection import whole_records
from xr_modelfit.results.significance import SNR, rule_of, significant
from xr_modelfit.status import FitStatus

__all__ = [
    "NEGATIVE_COUNTS", "FitReport", "headline", "n_without_status", "report_of", "status_counts", "summary",
    "without_status",
]  # fmt: skip

NEGATIVE_COUNTS = (
    "Counts are never negative. If a background or offset was subtracted from them, add it back, and give the model a "
    "term for it. If the data are no counts, use another loss, with sigma."
)

_NOISE = {  # options in the record of a fit
    "two_sided": "Errors of the data differ below and above: the side on which the model lies decides.",
    "coord_sigma": "Errors of the coordinate are counted along the slope of the model.",
    "upper_limit": "Some samples are upper limits: each adds -2 ln of the chance of a measurement below it to chi2.",
}
_OF_NOISE = ("n_effective", "ar1")


@dataclass(frozen=True)
class FitReport:
    """How the fits of a result ended; its ``str`` is a short text, in notebooks it is a table.

    Every mapping has one entry for each fit of the result, by the prefix of its variables.

    Parameters
    ----------
    counts : dict of str to dict of FitStatus to int
        Number of positions with each status that occurs.
    at_bound : dict of str to dict of str to int
        Number of successful positions at which a parameter is on its bound; those parameters only.
    worst : dict of str to list of (dict, float)
        Labels and ``reduced_chi2`` of the successful positions where it is largest, worst first.
    significant : dict of str to (int, str)
        Number of significant fits, and the rule; nothing where the model has no amplitude.
    priors : dict of str to str
        Means and standard deviations of the priors of a fit that had some, in words.
    clipped : dict of str to (int, int)
        Number of samples that were clipped, and of fits that have such; nothing where the result does not tell.
    noise : dict of str to list of str
        Sentences on the errors of the data, where they are more than one standard error for each, and on the causes
        of failures.
    counted : dict of str to list of str
        The inputs of the model that counted positions along a dim without a coordinate, in words.
    masked : dict of str to int
        Number of positions without a status (NaN); they count as no fit. Nothing where each has one.
    """

    counts: dict[str, dict[FitStatus, int]]
    at_bound: dict[str, dict[str, int]]
    worst: dict[str, list[tuple[dict[Hashable, Any], float]]]
    significant: dict[str, tuple[int, str]] = field(default_factory=dict)
    priors: dict[str, str] = field(default_factory=dict)
    clipped: dict[str, tuple[int, int]] = field(default_factory=dict)
    noise: dict[str, list[str]] = field(default_factory=dict)
    counted: dict[str, list[str]] = field(default_factory=dict)
    masked: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n\n".join(self._text(prefix) for prefix in self.counts)

    __repr__ = __str__

    def _text(self, prefix: str) -> str:
        counts = self.counts[prefix]
        lines = [headline(prefix, counts)]
        width = max((len(str(n)) for n in counts.values()), default=1)
        lines += [f"  {n:>{width}}  {status.meaning:<18}  {status.sentence}" for status, n in counts.items()]
        if prefix in self.masked:
            lines.append(f"Not counted: {without_status(self.masked[prefix])}, masked or added by an alignment.")
        if self.at_bound[prefix]:
            lines.append(f"On a bound: {self._bounds(prefix)}.")
        if prefix in self.significant:
            lines.append(f"Significant: {self._significant(prefix)}.")
        if prefix in self.priors:
            lines.append(f"Priors: {self.priors[prefix]}.")
        lines += self._about_samples(prefix)
        if self.worst[prefix]:
            worst = ", ".join(f"{value:.3g} ({place_text(labels)})" for labels, value in self.worst[prefix])
            lines.append(f"Largest reduced_chi2: {worst}.")
        return "\n".join(lines)

    def _bounds(self, prefix: str) -> str:
        good = _successful(self.counts[prefix])
        return ", ".join(f"{name} in {n} ({_percent(n, good)})" for name, n in self.at_bound[prefix].items())

    def _significant(self, prefix: str) -> str:
        n, rule = self.significant[prefix]
        return f"{n} of {_successful(self.counts[prefix])} ({rule})"

    def _about_samples(self, prefix: str) -> list[str]:
        lines = [f"The model's input {words}." for words in self.counted.get(prefix, [])]
        lines += self.noise.get(prefix, [])
        if prefix in self.clipped:
            pairs = zip(self.clipped[prefix], ("sample", "fit"), strict=True)
            samples, fits = (f"{n} {what}{'s' * (n != 1)}" for n, what in pairs)
            lines.append(f"Clipped: {samples} in {fits}.")
        return lines

    def _repr_html_(self) -> str:
        return "".join(self._table(prefix) for prefix in self.counts)

    def _table(self, prefix: str) -> str:
        counts = self.counts[prefix]
        total = sum(counts.values())
        head = "".join(f"<th style='text-align:left'>{h}</th>" for h in ("status", "fits", "share", "meaning"))
        rows = [
            f"<tr><td>{s.meaning}</td><td>{n}</td><td>{_percent(n, total)}</td>"
            f"<td style='text-align:left'>{escape(s.sentence)}</td></tr>"
            for s, n in counts.items()
        ]
        parts = [
            f"<p><b>{escape(headline(prefix, counts))}</b></p>",
            f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>",
        ]
        if prefix in self.masked:
            parts.append(f"<p>Not counted: {without_status(self.masked[prefix])}.</p>")
        if self.at_bound[prefix]:
            parts.append(f"<p>On a bound: {escape(self._bounds(prefix))}.</p>")
        if prefix in self.significant:
            parts.append(f"<p>Significant: {escape(self._significant(prefix))}.</p>")
        if prefix in self.priors:
            parts.append(f"<p>Priors: {escape(self.priors[prefix])}.</p>")
        parts += [f"<p>{escape(line)}</p>" for line in self._about_samples(prefix)]
        if self.worst[prefix]:
            dims = list(self.worst[prefix][0][0])
            head = "".join(f"<th>{escape(str(d))}</th>" for d in [*dims, "reduced_chi2"])
            rows = [
                "<tr>" + "".join(f"<td>{escape(label_text(at[d]))}</td>" for d in dims) + f"<td>{value:.4g}</td></tr>"
                for at, value in self.worst[prefix]
            ]
            parts.append("<p>Largest reduced_chi2:</p>")
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>")
        return "".join(parts)


def report_of(result: xr.Dataset, n_worst: int) -> FitReport:
    """How the fits of a result ended; computes what is lazy, once."""
    if isinstance(n_worst, bool) or not isinstance(n_worst, int) or n_worst < 0:
        raise ValueError(f"n_worst is {n_worst!r}; a whole number of 0 or more is needed.")
    records = whole_records(result)
    names = [name for r in records for name in r.present(result, "fit_status", "reduced_chi2", *_OF_NOISE)]
    result = result[names].assign(_numbers_clipped(result, records)).compute()
    counts, at_bound, worst, found, clipped = {}, {}, {}, {}, {}
    for record in records:
        status = result[record.variable("fit_status")]
        counts[record.prefix] = status_counts(status.to_numpy())
        at_bound[record.prefix] = _at_bound(result, record)
        worst[record.prefix] = _worst(result, record, n_worst)
        if (counted := _significant(result, record)) is not None:
            found[record.prefix] = counted
        if (name := record.variable("clipped")) in result:
            clipped[record.prefix] = int(result[name].sum()), int((result[name] > 0).sum())
    said = {r.prefix: [words for key, words in _NOISE.items() if r.content["options"].get(key)] for r in records}
    for record in records:
        if FitStatus.NONFINITE_MODEL in counts[record.prefix] and of_counts(record):
            said[record.prefix].append(f"Fits that are nonfinite_model may have negative samples. {NEGATIVE_COUNTS}")
        if FitStatus.DEGENERATE in counts[record.prefix]:
            said[record.prefix] += _ignored(record)
        if (words := _correlated(result, record)) is not None:
            said[record.prefix].append(f"Noise: {words}.")
    priors = {record.prefix: _priors(record) for record in records if record.priors}
    counted_positions = {record.prefix: record.counted for record in records}
    masked = {r.prefix: n for r in records if (n := n_without_status(result[r.variable("fit_status")].to_numpy()))}
    return FitReport(counts, at_bound, worst, found, priors, clipped, said, counted_positions, masked)


def _numbers_clipped(result: xr.Dataset, records: Sequence[FitRecord]) -> dict[str, xr.Variable]:
    """How many samples of each fit were clipped, in place of the masks."""
    found = {}
    for record in records:
        name = record.variable("clipped")
        if name in result:
            mask, kept = result[name].variable, result[record.variable("fit_status")].dims
            found[name] = (mask == 1).sum([d for d in mask.dims if d not in kept])  # NaN where it was aligned
    return found


def _priors(record: FitRecord) -> str:
    """``stddev 120 +- 10 m s-1, mean by maps``."""
    told = []
    for name, one in record.priors.items():
        mean, deviation = ("a map" if number is None else f"{number:.6g}" for number in (one["mean"], one["deviation"]))
        both = mean == deviation == "a map"
        unit = f" {one['units']}" if not both and one["units"] not in (None, "", "1") else ""
        told.append(f"{name} {'by maps' if both else f'{mean} +- {deviation}'}{unit}")
    return ", ".join(told)


def _at_bound(result: xr.Dataset, record: FitRecord) -> dict[str, int]:
    """Positions with each parameter on its bound: there it has a value but no error."""
    on_bound = result[record.variable("fit_status")] == int(FitStatus.CONVERGED_AT_BOUND)
    found = {}
    for name in record.names:
        value, error = record.variable(name), record.variable(f"{name}_stderr")
        if value in result and error in result:
            found[name] = int((on_bound & result[value].notnull() & result[error].isnull()).sum())
    return {name: n for name, n in found.items() if n}


def _significant(result: xr.Dataset, record: FitRecord) -> tuple[int, str] | None:
    """How many fits mean something, and by which rule; None where the model or the result does not tell."""
    rule = rule_of(record)
    if rule is None:
        return None
    try:
        good = significant(result, record)
    except RecordError:  # selected variables alone
        return None
    return int(good.sum()), rule.words(SNR).partition("; ")[2]


def _ignored(record: FitRecord) -> list[str]:
    """That the model does not use a free parameter, which no sample determines then."""
    try:
        names = ignored_parameters(build_model(record.content["model"]))
    except RecordError:  # of a class or function that only the user has
        return []
    if not names:
        return []
    it = "it" if len(names) == 1 else "them"
    return [
        f"Fits are degenerate because the derivative of the model by {listed(names)} is zero everywhere: the model "
        f"does not use {it}, or in steps only. Fix {it}, or let the model depend on {it}."
    ]


def _correlated(result: xr.Dataset, record: FitRecord) -> str | None:
    """How noise is correlated, with medians over the successful fits; None where samples are independent."""
    kind = record.content["options"].get("noise")
    if kind is None:
        return None
    good = result[record.variable("fit_status")] > 0
    medians = {
        name: float(result[record.variable(name)].where(good).median())
        for name in _OF_NOISE
        if record.variable(name) in result and bool(good.any())
    }
    parts = ["AR(1), from the residuals of each fit" if kind == "ar1" else "by a covariance"]
    if "ar1" in medians:
        parts.append(f"correlation {medians['ar1']:.2f} from step to step (median)")
    if "n_effective" in medians:
        parts.append(f"{medians['n_effective']:.3g} effective samples (median)")
    return "; ".join(parts)


def _worst(result: xr.Dataset, record: FitRecord, n: int) -> list[tuple[dict[Hashable, Any], float]]:
    name = record.variable("reduced_chi2")
    status = result[record.variable("fit_status")]
    if name not in result or status.ndim == 0:
        return []
    values = result[name].transpose(*status.dims).to_numpy()
    flat = np.where((status.to_numpy() > 0) & np.isfinite(values), values, -np.inf).ravel()
    order = np.argsort(-flat, kind="stable")[:n]
    found = []
    for i in order[np.isfinite(flat[order])].tolist():
        at = np.unravel_index(i, status.shape)
        labels = labels_at(status, {d: int(n) for d, n in zip(status.dims, at, strict=True)})
        found.append((labels, float(flat[i])))
    return found


def summary(status: np.ndarray) -> str:
    """Failures per status on one line, the most frequent first; masked positions are no failures."""
    failed = {s: n for s, n in status_counts(status).items() if s <= 0 and s != FitStatus.NO_DATA}
    return ", ".join(f"{n} {s.meaning}" for s, n in sorted(failed.items(), key=lambda item: -item[1]))


def status_counts(status: np.ndarray) -> dict[FitStatus, int]:
    """Positions per status; those without one are not counted."""
    numbers = np.asarray(status, dtype=float)
    codes, counts = np.unique(numbers[~np.isnan(numbers)], return_counts=True)
    unknown = [c for c in codes.tolist() if c not in set(FitStatus)]
    if unknown:
        raise RecordError(
            f"fit_status holds {unknown[0]:g}, which is no status. Select or align a result; do not average it."
        )
    found = {FitStatus(int(c)): int(n) for c, n in zip(codes, counts, strict=True)}
    return {s: found[s] for s in FitStatus if s in found}


def n_without_status(status: np.ndarray) -> int:
    """Positions whose status is NaN: the user masked them, or aligned the result to more positions."""
    return int(np.isnan(np.asarray(status, dtype=float)).sum())


def without_status(n: int) -> str:
    """``4 positions without a status``."""
    return f"{n} {'position' if n == 1 else 'positions'} without a status"


def _successful(counts: Mapping[FitStatus, int]) -> int:
    return sum(n for s, n in counts.items() if s > 0)


def headline(prefix: str, counts: Mapping[FitStatus, int]) -> str:
    """How many fits there are, and how many of them succeeded."""
    total, good = sum(counts.values()), _successful(counts)
    title = f"{prefix.removesuffix('_')}: " if prefix else ""
    return f"{title}{total} {'fit' if total == 1 else 'fits'}, {good} successful" + (
        f" ({_percent(good, total)})" if total else ""
    )


def _percent(part: int, total: int) -> str:
    """A percentage: 100 % only for all, 0 % only for none."""
    share = 100 * part / total
    if 0 < part < total:
        share = min(max(share, 0.1), 99.9)
    return f"{share:.1f} %"
