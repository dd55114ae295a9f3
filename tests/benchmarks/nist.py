"""Digits of the NIST StRD sets for nonlinear regression, as a Markdown table.

    python tests/benchmarks/nist.py FOLDER [--page docs/accuracy.md]

``FOLDER`` holds the 27 files. Each set is fitted from both of its starts, with tight tolerances and with the defaults;
in the same run, from the same starts, by ``scipy.optimize.least_squares`` at 1e-12 and by astropy's ``TRFLSQFitter``.
``--page`` puts the summary and the table between the marks of a page.
"""

import argparse
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.modeling.fitting import NonFiniteValueError, TRFLSQFitter
from scipy.optimize import least_squares

from xr_modelfit import BatchLSQFitter, FitStatus

sys.path.insert(0, str(Path(__file__).parents[1]))
from support import nist as sets

TIGHT = BatchLSQFitter(maxiter=1000, ftol=1e-12, xtol=1e-12, gtol=1e-12)
START_MARK, END_MARK = "<!-- made by tests/benchmarks/nist.py -->", "<!-- end -->"


@dataclass(frozen=True)
class Row:
    """One start of one set."""

    name: str
    start: int
    tight: float
    default: float
    iterations: tuple[int, int]
    status: tuple[str, str]
    error: float
    peers: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the .dat files are")
    parser.add_argument("--page", type=Path, metavar="PAGE.md", help="page to put the tables into")
    options = parser.parse_args()
    rows = [row for one in sets.read_all(options.folder) for row in measured(one)]
    if not rows:
        parser.error(f"there are no .dat files in {options.folder}")
    text = f"{summary(rows)}\n\n{table(rows)}"
    print(text)
    if options.page is not None:
        page = options.page.read_text()
        before, rest = page.split(START_MARK)
        _, after = rest.split(END_MARK)
        options.page.write_text(f"{before}{START_MARK}\n\n{text}\n\n{END_MARK}{after}")


def measured(one: Any) -> list[Row]:
    """Both starts of a set."""
    tight, default = sets.fit_both(one, TIGHT), sets.fit_both(one, None)
    found = {
        label: sets.digits(sets.values(result, one), one.parameters)
        for label, result in (("tight", tight), ("default", default))
    }
    error = sets.digits(sets.values(tight, one, "_stderr"), one.errors)
    rows = []
    for i in range(2):
        both = [result.isel(start=i) for result in (tight, default)]
        iterations = (int(both[0]["n_iter"]), int(both[1]["n_iter"]))
        status = (meaning(both[0]), meaning(both[1]))
        digits = (float(found["tight"][i]), float(found["default"][i]))
        rows.append(Row(one.name, i + 1, *digits, iterations, status, float(error[i]), peers(one, i)))
    return rows


def meaning(result: Any) -> str:
    return FitStatus(int(result["fit_status"])).meaning


def peers(one: Any, start: int) -> dict[str, float]:
    """Digits that others reach from the same start."""

    def residual(p: np.ndarray) -> np.ndarray:
        return one.y - one.function(*one.x, *p)

    out = {}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for method in ("lm", "trf"):
            out[f"scipy {method}"] = np.nan
            try:
                options = {"xtol": 1e-12, "ftol": 1e-12, "gtol": 1e-12, "max_nfev": 20000}
                p = least_squares(residual, one.starts[start], method=method, **options).x
            except ValueError:  # not finite on the way
                p = np.full(one.parameters.size, np.nan)
            out[f"scipy {method}"] = float(sets.digits(p, one.parameters))
        try:
            fitted = TRFLSQFitter()(one.model(start), *one.x, one.y, maxiter=1000, estimate_jacobian=True)
            p = fitted.parameters
        except (ValueError, NonFiniteValueError):
            p = np.full(one.parameters.size, np.nan)
        out["astropy TRF"] = float(sets.digits(p, one.parameters))
    return out


def summary(rows: list[Row]) -> str:
    """How many starts reach 4 and 6 digits, by fitter."""
    columns = {
        "this package, tolerances 1e-12": [r.tight for r in rows],
        "this package, default tolerances": [r.default for r in rows],
    }
    columns |= {
        f"`least_squares({m!r})`, tolerances 1e-12": [r.peers[f"scipy {m}"] for r in rows] for m in ("lm", "trf")
    }
    columns["`TRFLSQFitter()`, maxiter 1000"] = [r.peers["astropy TRF"] for r in rows]
    lines = [f"| of {len(rows)} starts | 4 digits | 6 digits | 8 digits |", "|---|---|---|---|"]
    for label, found in columns.items():
        counts = " | ".join(str(sum(d >= least for d in found)) for least in (4, 6, 8))
        lines.append(f"| {label} | {counts} |")
    good = [r for r in rows if r.tight >= 6 and not r.name.startswith("Lanczos1")]
    certified = sum(r.error >= 4 for r in good)
    lines += [
        "",
        f"Standard deviations to 4 digits: {certified} of the {len(good)} starts with 6 digits (no Lanczos1).",
    ]
    return "\n".join(lines)


def table(rows: list[Row]) -> str:
    """Every start."""
    head = ["set", "start", "1e-12", "default", "iterations", "status", "std. dev.", *rows[0].peers]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for r in rows:
        status = r.status[0] if r.status[0] == r.status[1] else " / ".join(r.status)
        numbers = [f"{v:.1f}" for v in r.peers.values()]
        first = [r.name, str(r.start), f"{r.tight:.1f}", f"{r.default:.1f}"]
        middle = [f"{r.iterations[0]} / {r.iterations[1]}", status, f"{r.error:.1f}"]
        lines.append("| " + " | ".join([*first, *middle, *numbers]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
