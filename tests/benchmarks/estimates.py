"""Starts from the data: what share of fits they lead to the minimum, and what they cost.

    python tests/benchmarks/estimates.py [--fits N] [--seed N] [--cases WORD,...] [--engines numpy,numba]
                                         [--page docs/estimates.md]

A fit counts if it reaches the chi-square of the fit from the truth, within 1e-4. Times are those of one core (of the
processor, not of the clock), per fit: of the estimate, of the fit from it with each engine, and of the fit that it
saves, from the model's own start; the lesser of two runs. What a call finds out about its model in any case is not part
of the estimate. Constants of the estimators were looked at on seeds below 100; report on others.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import dask
from tables import put_into

from support.estimate_cases import CASES, Fits, estimating, fitted, outcome

MARK = "<!-- made by tests/benchmarks/estimates.py -->"


def seconds(work: Callable[[], Any], repeats: int = 2) -> float:
    best = float("inf")
    for _ in range(repeats):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return best


def row(name: str, fits: Fits, engines: list[str]) -> str:
    found = outcome(fits, engines[0], single=True)
    us = 1e6 / len(fits.y)
    cost = seconds(estimating(fits)) * us
    starts = found.estimates.parameters
    times = [seconds(lambda e=e: fitted(fits, starts, e)) * us for e in engines]
    saved = [seconds(lambda e=e: fitted(fits, None, e)) * us for e in engines]
    cells = [name, f"{found.single.mean():.1%}", f"{found.estimated.mean():.1%}", f"{cost:.0f}"]
    cells += [f"{t:.0f}" for t in (*times, *saved)] + [f"{cost / t:.2f}" for t in saved]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--cases", default="")
    parser.add_argument("--engines", default="numpy,numba")
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    engines = given.engines.split(",")
    words = [word for word in given.cases.split(",") if word]
    heads = ["model", "right, start", "right, estimate", "estimate"]
    heads += [f"{what}, {e}" for what in ("fit", "saved", "ratio") for e in engines]
    lines = [f"| {' | '.join(heads)} |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    print(*lines, sep="\n")
    warnings.simplefilter("ignore")
    with dask.config.set(scheduler="synchronous"):
        for name, make in CASES.items():
            if not words or any(word in name for word in words):
                lines.append(row(name, make(given.fits, given.seed), engines))
                print(lines[-1], flush=True)
    if given.page is not None:
        put_into(given.page, "\n".join(lines), MARK)


if __name__ == "__main__":
    main()
