"""The rules of the layout: who may import what, no cycles, public names in order."""

import ast
import inspect
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import xr_modelfit

PACKAGE = Path(xr_modelfit.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
NUMERIC = {"models", "tracing", "analysis", "fitters", "estimates"}
NUMERIC_MODULES = {
    "messages", "status", "parameter_units.algebra", "parameter_units.dimensions", "parameter_units.linear_forms",
    "parameter_units.shifts", "results.evaluation_blocks",
}  # fmt: skip
MAY_IMPORT_DASK = {"execution.computing", "execution.execution", "execution.halos", "stores.stores"}


def rooms() -> list[str]:
    """The rooms from the top, as the page has them."""
    table = PAGE.read_text().partition("## The folders")[2].partition("##")[0]
    return [row.split("`")[1] for row in table.splitlines() if row.startswith("| `")]


@cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name] = ast.parse(path.read_text())
    return found


def imports(tree: ast.Module) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_the_numeric_side_knows_no_labels() -> None:
    for name, tree in modules().items():
        if name.split(".")[0] in NUMERIC or name in NUMERIC_MODULES:
            roots = {i.split(".")[0] for i in imports(tree)}
            assert not roots & {"xarray", "dask", "pandas", "distributed"}, name


def test_dask_is_imported_in_one_place() -> None:
    for name, tree in modules().items():
        if any(i.split(".")[0] in ("dask", "distributed") for i in imports(tree)):
            assert name in MAY_IMPORT_DASK, name


def test_imports_have_no_cycle() -> None:
    named = {name: imports(tree) for name, tree in modules().items() if not name.endswith("__init__")}
    graph = {
        name: {other for other in named if other != name and f"xr_modelfit.{other}" in names}
        for name, names in named.items()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_rooms_are_those_of_the_page() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(rooms())
    for room in folders:
        assert ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())), room


def test_rooms_import_only_rooms_below() -> None:
    order = rooms()
    for name, tree in modules().items():
        if name in ("__init__", "__main__"):
            continue
        room = name.split(".")[0] if "." in name else ""
        for imported in imports(tree):
            parts = imported.split(".")
            if parts[0] != "xr_modelfit" or len(parts) < 2:
                continue
            if parts[1] in order:
                assert room, f"{name}, which every room may use, imports {imported}"
                assert order.index(parts[1]) >= order.index(room), f"{name} imports {imported}, which is above it"


def test_tests_share_cases_in_one_place() -> None:
    """What several need is in ``tests/support``: a file of tests imports no other one."""
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        head = path.read_text().partition("\ndef ")[0]
        assert not re.findall(r"^(?:from|import) (?:test_|conftest)\w*", head, re.MULTILINE), path


def test_the_page_names_files_that_are_there() -> None:
    named = {word for word in PAGE.read_text().split("`")[1::2] if word.endswith(".py")}
    missing = [word for word in sorted(named) if not (PACKAGE / word).exists() and not list(PACKAGE.rglob(word))]
    assert not missing


def test_public_names_are_sorted_and_there() -> None:
    assert list(xr_modelfit.__all__) == sorted(xr_modelfit.__all__)
    assert all(hasattr(xr_modelfit, name) for name in xr_modelfit.__all__)


@pytest.mark.parametrize("name", xr_modelfit.__all__)
def test_public_names_are_documented(name: str) -> None:
    assert inspect.getdoc(getattr(xr_modelfit, name))


def test_accessors_mirror_the_function() -> None:
    for accessor in (xr_modelfit.ModelfitDataArray, xr_modelfit.ModelfitDataset):
        call = accessor.__call__
        assert list(inspect.signature(call).parameters)[1:] == list(inspect.signature(xr_modelfit.fit).parameters)[1:]
        assert call.__doc__ == xr_modelfit.fit.__doc__


def test_every_argument_is_documented_in_its_order() -> None:
    section = inspect.getdoc(xr_modelfit.fit).split("Parameters\n----------\n")[1].split("\nReturns\n")[0]
    documented = [line.split(" : ")[0] for line in section.splitlines() if line[:1].isalpha()]
    arguments = list(inspect.signature(xr_modelfit.fit).parameters)
    assert sorted(documented) == sorted(arguments)
    assert documented[:3] == arguments[:3] == ["obj", "model", "dim"]


def test_functions_stay_small() -> None:
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = node.end_lineno - body[0].lineno + 1 if body else 0
                assert lines <= 60, f"{name}.{node.name} has {lines} lines"


def test_importing_brings_nothing_heavy() -> None:
    """What only some calls need is imported by those calls."""
    code = "import sys, xarray, astropy.modeling; before = set(sys.modules); import xr_modelfit; "
    code += "print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {
        "astropy.units.cds", "concurrent.futures.process", "dask", "distributed", "matplotlib", "multiprocessing.pool",
        "netCDF4", "numba", "pint", "scipy.optimize", "scipy.special", "tqdm", "xr_modelfit.fits_io.fits",
        "xr_modelfit.fits_io.to_fits", "zarr",
    }  # fmt: skip
    assert not heavy & set(done.stdout.split())


def test_what_is_imported_when_it_is_named_is_there_all_the_same() -> None:
    code = (
        "import xr_modelfit; print(set(xr_modelfit.__all__) <= set(dir(xr_modelfit)), xr_modelfit.from_fits.__name__); "
    )
    code += "from xr_modelfit import *; print(to_hdulist.__name__, hasattr(xr_modelfit, 'from_fit'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "from_fits", "to_hdulist", "False"]
