"""Costs of this package alone, the second table of ``compare.py``: small calls, sizes, threads, memory, the floor."""

import time
from collections.abc import Callable, Iterator
from statistics import median

import numpy as np
from cases import Case, spread
from competitors import result
from new_process import import_seconds, stored

Row = tuple[str, str, str]  # what, engine, value


def seconds(call: Callable[[], object], repeats: int) -> float:
    times = []
    call()  # untimed: memory, compilation
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return median(times)


def imports(repeats: int) -> Iterator[Row]:
    value = median(import_seconds() for _ in range(repeats))
    yield "import, over that of xarray and astropy.modeling", "", f"{1e3 * value:.0f} ms"


def of_cube(case: Case, engine: str, repeats: int) -> Iterator[Row]:
    """Small calls, and the distance from the floor."""
    for n in (1, 100):
        few = case.at(spread(case.n_fits, n))
        value = seconds(lambda few=few: result(few, engine), max(7, repeats))
        yield f"{case.title}: a call with {few.n_fits} fit{'s' * (few.n_fits > 1)}", engine, f"{1e3 * value:.2f} ms"
    yield from threads(case, engine, repeats)
    alone = seconds(lambda: result(case, engine, scheduler="synchronous"), repeats)
    steps = result(case, engine, keep_failed=True)["n_iter"].mean().item()
    floor = 1e-3 * (1 + steps) * case.n_samples * exp_cost()  # the start is evaluated too
    yield f"{case.title}: floor, {steps:.1f} steps and the start, one thread", engine, f"{floor:.2f} µs a fit"
    yield f"{case.title}: one thread / floor", engine, f"{1e6 * alone / case.n_fits / floor:.1f}"


def threads(case: Case, engine: str, repeats: int) -> Iterator[Row]:
    value = {}
    for scheduler in ("synchronous", "threads"):
        value[scheduler] = seconds(lambda s=scheduler: result(case, engine, scheduler=s), repeats) / case.n_fits
        yield f"{case.title}: {case.n_fits} fits, {scheduler}", engine, f"{1e6 * value[scheduler]:.1f} µs a fit"
    yield f"{case.title}: synchronous / threads", engine, f"{value['synchronous'] / value['threads']:.2f}"


def of_size(case: Case, engine: str, repeats: int) -> Iterator[Row]:
    """Time a fit for 10^4, 10^5, 10^6 fits, as far as the case goes; threads; memory at the largest."""
    sizes = [n for n in (10**4, 10**5, 10**6) if n < case.n_fits] + [case.n_fits]
    for n in sizes:
        part = case if n == case.n_fits else case.at(np.arange(n))
        value = seconds(lambda part=part: result(part, engine), min(3, repeats))
        yield f"{case.title}: {n} fits", engine, f"{1e6 * value / n:.1f} µs a fit"
    yield from threads(case.at(spread(case.n_fits, 10**5)), engine, min(3, repeats))
    yield from memory(case, engine)


def memory(case: Case, engine: str) -> Iterator[Row]:
    with stored(case) as process:
        told, _ = process.fit(engine, "--memory")
    size = f"{told['bytes'] / 2**20:.0f} MiB"
    what = f"{case.title}: peak memory beyond input ({case.data.nbytes / 2**20:.0f} MiB) and result"
    yield what, engine, size


def exp_cost() -> float:
    """Nanoseconds a value of NumPy's ``exp``, in arrays that stay in cache."""
    values = np.linspace(-5.0, 0.0, 2**14)
    out = np.empty_like(values)
    np.exp(values, out=out)
    times = []
    for _ in range(50):
        begin = time.perf_counter()
        for _ in range(10):
            np.exp(values, out=out)
        times.append(time.perf_counter() - begin)
    return 1e9 * median(times) / (10 * values.size)
