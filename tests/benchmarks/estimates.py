"""Starts from the data: what share of fits they lead to the minimum, and what they cost.

    python tests/benchmarks/estimates.py [--fits N] [--seed N] [--cases WORD,...] [--engines numpy,numba]

A fit counts if it reaches the chi-square of the fit from the truth, within 1e-4. Times are those of one core (of the
processor, not of the clock), per fit: of the estimate, of the fit from it with each engine, and of the fit that it
saves, from the model's own start; the lesser of two runs. Constants of the estimators were looked at on seeds below
100; report on others.
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

from support.estimate_cases import CASES, Fits, estimated, fitted, outcome


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
    cost = seconds(lambda: estimated(fits)) * us
    starts = found.estimates.parameters
    times = [seconds(lambda e=e: fitted(fits, starts, e)) * us for e in engines]
    times += [seconds(lambda e=e: fitted(fits, None, e)) * us for e in engines]
    cells = [name, f"{found.single.mean():.1%}", f"{found.estimated.mean():.1%}", f"{cost:.1f}"]
    return f"| {' | '.join([*cells, *(f'{t:.1f}' for t in times)])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1234)
    parser.add_argument("--cases", default="")
    parser.add_argument("--engines", default="numpy,numba")
    given = parser.parse_args()
    engines = given.engines.split(",")
    words = [word for word in given.cases.split(",") if word]
    heads = ["model", "from the model's start", "from estimates", "estimate, µs", *(f"fit, {e}, µs" for e in engines)]
    heads += [f"fit from the model's start, {e}, µs" for e in engines]
    print(f"| {' | '.join(heads)} |")
    print("|---" * len(heads) + "|")
    warnings.simplefilter("ignore")
    with dask.config.set(scheduler="synchronous"):
        for name, make in CASES.items():
            if not words or any(word in name for word in words):
                print(row(name, make(given.fits, given.seed), engines), flush=True)


if __name__ == "__main__":
    main()
