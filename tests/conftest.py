"""Fixtures that all tests share: the folder of real data and public cases, where it is there."""

import gc
import importlib.util
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import xarray as xr
from astropy.io import fits
from astropy.wcs import WCS

SHARED = Path(os.environ.get("XR_MODELFIT_SHARED", Path(__file__).parents[2] / "shared"))


def pytest_collection_finish() -> None:
    """Modules and tests stay until the end of the run: leave them out of each collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of the cases of a test with ``quick_share(n)``, the first and every n-th after it are quick, the others slow.

    Cases that are slow anyway are not counted.

    Of two crossed lists, each value is in a quick case if n is no larger than either, and shares no factor with them.
    """
    seen: Counter[str] = Counter()
    for item in items:
        mark = item.get_closest_marker("quick_share")
        if mark and not item.get_closest_marker("slow"):
            test = item.nodeid.partition("[")[0]
            if seen[test] % mark.args[0]:
                item.add_marker("slow")
            seen[test] += 1


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"public_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data; skips where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real data is not there")
    return folder


@pytest.fixture(scope="session")
def public_cases() -> ModuleType:
    """The public cases as a module; skips where they are absent."""
    path = SHARED / "cases" / "cases.py"
    if not path.is_file():
        pytest.skip("the public cases are not there")
    return _load(path)


@pytest.fixture(scope="session")
def run_case(public_cases: ModuleType) -> ModuleType:
    """The translator of public cases into calls of this package."""
    return _load(SHARED / "cases" / "run.py")


@pytest.fixture(scope="session")
def cube(shared_data: Path) -> xr.DataArray:
    """The 13CO cube as it is in the file, big-endian, with velocities in m/s."""
    with fits.open(shared_data / "l1448_13co.fits", memmap=False) as hdus:
        values, wcs = hdus[0].data, WCS(hdus[0].header)
    velocity = wcs.pixel_to_world_values(0, 0, np.arange(values.shape[0]))[2]
    return xr.DataArray(values, dims=("velocity", "y", "x"), coords={"velocity": velocity}, name="T")


@pytest.fixture(scope="session")
def compiled_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of this run for compiled code, in place of the user's; one for all workers, as compiling takes long."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "compiled"
    folder.mkdir(mode=0o700, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XR_MODELFIT_CACHE", str(folder))
        yield folder
