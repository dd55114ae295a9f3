"""This package side by side with its competitors, as Markdown tables.

    python tests/benchmarks/compare.py [CUBE.fits] [--quick] [--fits N] [--cases NAME,...] [--page docs/speed.md]

All competitors of a case fit the same array in the same run, in turns, and the medians count. Slow ones get positions
of that array at equal distances. No time is printed of a competitor whose answers differ from this package's, and the
command ends with status 1 if they should not. ``CUBE.fits`` is the cube that ``speed.py`` reads. What the rows and the
columns are is told in ``docs/speed.md``. Progress goes to the error output. Stopped by ctrl-C, it prints what it has.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import costs
import numpy as np
from agreement import compared, needed
from cases import FAMILIES, NAMES, Case, family, spread
from competitors import Competitor, LeftOut, competitors, engines
from new_process import stored
from tables import REFERENCE, Run, comparison, costs_alone, machine, put_into, ratios, shares

COLD = 100_000  # fits of a new process, at most
LONG = 20.0  # seconds: longer calls are repeated as seldom as those of slow competitors


def main() -> int:
    options = arguments()
    warnings.simplefilter("ignore")  # of fits that do not converge, of which real cubes have some
    scale = 0.1 if options.quick else 1.0
    rivals, notes = competitors(min(scale, options.fits / 10_000))
    rivals = [one for one in rivals if not any(word in one.name for word in options.without)]
    tables: dict[str, list[Run]] = {}
    titles: dict[str, str] = {}
    more: list[costs.Row] = []
    try:
        for case in chosen(options):
            tables[case.name], said = measured(case, rivals, options)
            titles[case.name] = f"{case.title} ({len(case.free)} parameters, {case.n_samples} samples)"
            notes += said
            if options.costs:
                more += cost_rows(case, {run.name for run in tables[case.name]}, options.repeats)
    except KeyboardInterrupt:
        notes.append(f"stopped by hand: {', '.join(name for name in options.cases if name not in tables)} left out")
    lines = [*machine(options.repeats, options.slow_repeats, LONG), *comparison(tables, titles, notes)]
    if options.costs:
        lines += costs_alone([*costs.imports(options.repeats), *more, *ratios(tables)])
    print("\n".join(lines))
    if options.page is not None:
        put_into(options.page, "\n".join(lines))
    return 0 if all(run.good or run.excused for runs in tables.values() for run in runs) and not crashes(notes) else 1


def chosen(options: argparse.Namespace) -> Iterator[Case]:
    """The cases that were asked for; a family is made when its turn comes."""
    for name, (_, _, members) in FAMILIES.items():
        if set(members) & set(options.cases):
            yield from (c for c in family(name, options.fits, options.cube) if c.name in options.cases)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cube", nargs="?", type=Path, metavar="CUBE.fits", help="spectral cube [a simulated one]")
    parser.add_argument("--quick", action="store_true", help="2000 positions, slow ones once: some minutes")
    parser.add_argument("--fits", type=int, help="positions of a case, at most")
    parser.add_argument("--repeats", type=int, help="runs of which the median counts, at most 3 of slow ones [5]")
    parser.add_argument("--cases", default=",".join(NAMES), help="names, with commas [all]")
    parser.add_argument("--without", default="", help="leave out competitors with these words, with commas")
    parser.add_argument("--page", type=Path, metavar="PAGE.md", help="page to put the tables into, between their marks")
    parser.add_argument("--no-costs", dest="costs", action="store_false", help="leave out the second table")
    options = parser.parse_args()
    options.fits = options.fits or (2_000 if options.quick else 10**6)
    options.repeats = options.repeats or (3 if options.quick else 5)
    options.slow_repeats = 1 if options.quick else min(3, options.repeats)
    options.cases = options.cases.split(",")
    options.without = [word for word in options.without.split(",") if word]
    if unknown := set(options.cases) - set(NAMES):
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    return options


def measured(case: Case, rivals: list[Competitor], options: argparse.Namespace) -> tuple[list[Run], list[str]]:
    """All rows of a case. Competitors take turns, so that all meet the same machine."""
    say(f"{case.title}: {case.n_fits} fits")
    subsets: dict[int, tuple[np.ndarray, Case]] = {}

    def subset(most: int) -> tuple[np.ndarray, Case]:
        where = spread(case.n_fits, most)
        if where.size not in subsets:
            subsets[where.size] = where, case if where.size == case.n_fits else case.at(where)
        return subsets[where.size]

    reference = next(one for one in rivals if one.name == REFERENCE).maps(case)
    runs: dict[str, Run] = {}
    notes: list[str] = []
    left = list(rivals)
    for turn in range(options.repeats):
        for rival in list(left):
            long = rival.slow or (turn > 0 and runs[rival.name].times[0] > LONG)
            if long and turn >= options.slow_repeats:
                continue
            where, part = subset(rival.most)
            try:
                if turn == 0:
                    prepare(rival, part, runs, reference[:, where])
                elapsed, maps = timed(rival.maps, part)
            except Exception as error:  # the others go on, the command fails at its end
                left.remove(rival)
                if not isinstance(error, LeftOut):
                    notes.append(f"{case.name}: {rival.name} failed: {type(error).__name__}: {error}")
                elif rival.own:
                    notes.append(f"{case.name}: {rival.name} is left out: {error}")
                continue
            run = runs.setdefault(
                rival.name, Run(rival.name, part.n_fits, rival.needed, rival.clips and bool(case.bounds))
            )
            run.times.append(elapsed)
            if turn == 0 and rival.name != REFERENCE:
                run.agreement = compared(part, reference[:, where], maps)
                if not run.good:
                    left.remove(rival)
                    if run.excused:
                        notes.append(f"{case.name}: {rival.name} differs, as it keeps to bounds by clipping")
    for engine, _ in engines():
        if f"xr_modelfit, {engine}" in runs and "new process" not in options.without:
            where, part = subset(COLD)
            try:
                runs |= new_processes(engine, part, reference[:, where], options.slow_repeats)
            except RuntimeError as error:
                notes.append(f"{case.name}: {engine} in a new process failed: {error}")
    for run in runs.values():
        say(f"    {run.name}: {' '.join(shares(run.agreement))}")
    share = np.isfinite(reference).all(axis=0).mean()
    notes.append(f"{case.name}: {share:.2%} of the {case.n_fits} fits converged in the reference")
    return [run for _, run in sorted(runs.items(), key=lambda item: not item[0].startswith("xr_modelfit"))], notes


def prepare(rival: Competitor, part: Case, runs: dict[str, Run], reference: np.ndarray) -> None:
    """The first, untimed call of this package; that of a competitor which compiles is a row of its own."""
    if rival.own:
        rival.maps(part.at(spread(part.n_fits, 1_000)))
    elif rival.forget is not None:
        rival.forget()
        first = Run(f"{rival.name}, first call", part.n_fits)
        elapsed, maps = timed(rival.maps, part)
        first.times.append(elapsed)
        first.agreement = compared(part, reference, maps)
        runs[first.name] = first


def new_processes(engine: str, case: Case, reference: np.ndarray, repeats: int) -> dict[str, Run]:
    """First fits of new processes; an engine that compiles has two rows, without and with its cache."""
    ways = ("new process, no cache", "new process, cache") if engine == "numba" else ("new process",)
    runs = {way: Run(f"xr_modelfit, {engine}, {way}", case.n_fits, needed(engine)) for way in ways}
    with stored(case) as process:
        for _ in range(repeats):
            process.forget()
            for run in runs.values():
                told, maps = process.fit(engine)
                run.times.append(told["seconds"])
                run.agreement = compared(case, reference, maps)
    return {run.name: run for run in runs.values()}


def cost_rows(case: Case, did: set[str], repeats: int) -> Iterator[costs.Row]:
    """Rows of the second table that a case is for, of the engines that did it."""
    for engine, _ in engines():
        if f"xr_modelfit, {engine}" not in did:
            continue
        if case.name == "cube":
            yield from costs.of_cube(case, engine, repeats)
        elif case.name == "continuum":
            yield from costs.of_size(case, engine, repeats)
        elif case.name in ("trend", "trend-gaps"):
            yield from costs.memory(case, engine)
    if case.name == "cube":
        yield "exp of NumPy", "", f"{costs.exp_cost():.2f} ns a value"


def crashes(notes: list[str]) -> bool:
    return any(" failed: " in note for note in notes)


def timed(call: Callable[[Case], np.ndarray], case: Case) -> tuple[float, np.ndarray]:
    begin = time.perf_counter()
    returned = call(case)
    return time.perf_counter() - begin, returned


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":  # processes import this file
    sys.exit(main())
