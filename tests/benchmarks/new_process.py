"""Measurements of ``compare.py`` that need a new process: the first fit, its memory, imports."""

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from cases import Case

HERE = Path(__file__).parent
CACHE = "XR_MODELFIT_CACHE"  # names the folder where the package keeps compiled code
IMPORT = """
import time, xarray, astropy.modeling
begin = time.perf_counter()
import xr_modelfit
print(time.perf_counter() - begin)
"""


class Stored:
    """A case in a file, and the folders that its processes use."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.file, self.folder = folder / "case.pickle", folder
        with self.file.open("wb") as file:
            pickle.dump(case, file, protocol=5)
        self.caches = 0

    def fit(self, engine: str, *options: str) -> tuple[dict[str, float], np.ndarray]:
        """What ``one_fit.py`` prints, and its parameters; with the compiled code of the fit before."""
        out = self.folder / "parameters.npy"
        command = [sys.executable, str(HERE / "one_fit.py"), str(self.file), engine, str(out), *options]
        told = output(command, {CACHE: str(self.folder / f"cache{self.caches}")})
        return json.loads(told), np.load(out)

    def forget(self) -> None:
        """Make the next fit compile."""
        self.caches += 1


@contextmanager
def stored(case: Case) -> Iterator[Stored]:
    with tempfile.TemporaryDirectory() as folder:
        yield Stored(case, Path(folder))


def import_seconds() -> float:
    """Importing the package where xarray and astropy.modeling are imported already, as bytecode like them."""
    return float(output([sys.executable, "-c", IMPORT], {"PYTHONDONTWRITEBYTECODE": ""}))


def output(command: list[str], more: dict[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | more)
    if done.returncode:
        raise RuntimeError(f"{command[1]} failed: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout
