"""The Markdown of ``compare.py``: rows, shares, quotients, and the page that they go to."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from agreement import CLOSE, SHARE, Agreement

REFERENCE = "xr_modelfit, numpy"
START_MARK, END_MARK = "<!-- made by tests/benchmarks/compare.py -->", "<!-- end -->"
COLUMNS = ("case", "fitter", "fits", "µs a fit", "ratio", "seconds", "same", "short", "worse", "better", "failed")


class Run:
    """What is measured of one competitor on one case.

    ``needed`` is the share of the fits that have to be the same; ``excused`` is a competitor that is known to miss it.
    """

    def __init__(self, name: str, fits: int, needed: float = SHARE, excused: bool = False) -> None:
        self.name, self.fits, self.needed, self.excused = name, fits, needed, excused
        self.times: list[float] = []
        self.agreement: Agreement | None = None

    @property
    def good(self) -> bool:
        return self.agreement is None or self.agreement.close >= self.needed

    @property
    def cost(self) -> float:
        """Microseconds a fit."""
        return 1e6 * median(self.times) / self.fits


def comparison(tables: dict[str, list[Run]], titles: dict[str, str], notes: Sequence[str]) -> Iterator[str]:
    """Lines of the first table, with its notes."""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|---|---|" + "--:|" * (len(COLUMNS) - 2)
    for name, runs in tables.items():
        unit = next(run.cost for run in runs if run.name == REFERENCE)
        head = f"{name}: {titles[name]}"
        for run in runs:
            cells = [head, run.name, str(run.fits)]
            if run.good:
                cells += [figures(run.cost), figures(run.cost / unit), figures(median(run.times))]
            else:
                cells += ["differs", "", ""]
            yield "| " + " | ".join(cells + shares(run.agreement)) + " |"
            head = ""
    yield ""
    yield f"Same: within {CLOSE:g} standard errors of the reference, {REFERENCE}."
    yield ""
    yield from (f"- {note}" for note in notes)


def costs_alone(rows: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """Lines of the second table."""
    yield from ("", "| of this package | engine | |", "|---|---|--:|")
    yield from ("| " + " | ".join(row) + " |" for row in rows)


def machine(repeats: int, slow_repeats: int, long: float) -> Iterator[str]:
    few = f"{slow_repeats} of others and of calls above {long:.0f} s"
    yield from (f"Medians of {repeats} runs, {few}; {os.cpu_count()} threads.", "")


def ratios(tables: dict[str, list[Run]]) -> Iterator[tuple[str, str, str]]:
    """Quotients of times in the first table."""
    value = {(case, run.name): run.cost for case, runs in tables.items() for run in runs if run.good}
    pairs = (("cube-bounds", "cube"), ("blend-bounds", "blend"), ("blend-gaps", "blend"), ("trend-gaps", "trend"))
    for engine in ("numpy", "numba"):
        name = f"xr_modelfit, {engine}"
        for over, under in pairs:
            if (over, name) in value and (under, name) in value:
                yield f"{over} / {under}", engine, f"{value[over, name] / value[under, name]:.2f}"
        for case in ("trend", "trend-gaps"):
            if (case, name) in value and (case, "DataArray.polyfit") in value:
                yield f"{case} / polyfit", engine, f"{value[case, name] / value[case, 'DataArray.polyfit']:.2f}"


def shares(agreement: Agreement | None) -> list[str]:
    if agreement is None:
        return ["reference", "", "", "", ""]
    kinds = (agreement.close, agreement.short, agreement.worse, agreement.better, agreement.failed)
    return [f"{100 * share:.4g} %" for share in kinds]


def figures(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}" if value >= 1e-4 else f"{value:.6f}"


def put_into(page: Path, text: str, mark: str = START_MARK) -> None:
    """Put the tables between a mark of a page and the end that follows it."""
    before, found, rest = page.read_text(encoding="utf-8").partition(mark)
    _, end, after = rest.partition(END_MARK)
    if not found or not end:
        raise ValueError(f"{page} has no {mark} with an {END_MARK} behind it.")
    page.write_text(f"{before}{mark}\n\n{text}\n\n{END_MARK}{after}", encoding="utf-8")
