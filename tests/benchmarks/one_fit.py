"""One fit of a pickled case in a new process: what its first call costs, in time and memory.

    python tests/benchmarks/one_fit.py CASE ENGINE PARAMETERS.npy [--memory]

Prints the seconds of the call, and with ``--memory`` the peak of the resident memory during a call, less what was
there before and less the result. That call is the second one then, so that imports and compilation count for nothing.
``compare.py`` starts it, with ``XR_MODELFIT_CACHE`` naming the folder of compiled code.
"""

import argparse
import json
import pickle
import threading
import time
import warnings
from pathlib import Path

import numpy as np
from cases import spread
from competitors import parameters, result


class Peak:
    """Peak of the resident memory of this process while the block runs, looked at each millisecond."""

    def __enter__(self) -> "Peak":
        import psutil

        self.process = psutil.Process()
        self.before = self.most = self.process.memory_info().rss
        self.going = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.going.wait(0.001):
            self.most = max(self.most, self.process.memory_info().rss)

    def __exit__(self, *error: object) -> None:
        self.going.set()
        self.thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("case", type=Path)
    parser.add_argument("engine")
    parser.add_argument("parameters", type=Path)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with options.case.open("rb") as file:
        case = pickle.load(file)
    told = {}
    if options.memory:
        result(case.at(spread(case.n_fits, 100)), options.engine)
        with Peak() as peak:
            fitted = result(case, options.engine)
        told["bytes"] = peak.most - peak.before - fitted.nbytes
    else:
        begin = time.perf_counter()
        fitted = result(case, options.engine)
        told["seconds"] = time.perf_counter() - begin
    np.save(options.parameters, parameters(case, fitted))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
