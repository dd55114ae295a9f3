"""Tutorials, gallery and how-to pages run from top to bottom without a warning, and are as short as they say."""

import re
import subprocess
import sys
from pathlib import Path

import notebooks
import pytest

DOCS = Path(__file__).parents[1] / "docs"
FOLDERS = ("tutorials", "gallery", "how-to")
PAGES = [page for folder in FOLDERS for page in sorted((DOCS / folder).glob("*.md")) if page.name != "index.md"]
LINK = re.compile(r"\[[^]]+\]\(([^)\s]+)\)")
# How-to pages whose answers are tables and numbers.
WITHOUT_FIGURES = {
    "bounds", "choose-a-fitter", "coordinates", "custom-models", "dask-and-clusters", "diagnostics", "from-curve-fit",
    "from-curvefit", "from-lmfit", "from-pyspeckit", "noise", "save-and-reload", "start-values", "time-axes", "units",
    "weights-and-masks",
}  # fmt: skip

pytestmark = pytest.mark.skipif(not PAGES, reason="the docs folder is not there")


def run(page: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    for module in ("matplotlib", "netCDF4", "zarr", "distributed", "tqdm"):
        pytest.importorskip(module)
    command = [sys.executable, notebooks.__file__, str(page)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def named(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_page_runs_and_draws(page: Path, tmp_path: Path) -> None:
    done = run(page, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # the site would show it
    figures = int(done.stdout.rpartition("figures: ")[2])
    assert (figures == 0) == (page.stem in WITHOUT_FIGURES)


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import warnings\nwarnings.warn('careful')", "UserWarning: careful"),
        ("class A:\n    def _repr_html_(self):\n        raise KeyError('html')\n\nA()", "KeyError: 'html'"),
    ],
)
def test_a_wrong_page_fails_at_its_line(cell: str, fault: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n```{{code-cell}} ipython3\n:tags: [hide-input]\n\n{cell}\n```\n")
    done = run(page, tmp_path)
    assert done.returncode == 1
    assert fault in done.stderr
    assert 'File "page.md", line ' in done.stderr


def test_there_are_enough_examples() -> None:
    assert len([page for page in PAGES if page.parent.name == "gallery"]) >= 12


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "gallery"], ids=named)
def test_examples_are_short(page: Path) -> None:
    code = "".join(cell for _, cell in notebooks.cells(page.read_text(encoding="utf-8")))
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 25, f"{len(lines)} lines"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_cell_is_found(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith("---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n")
    assert len(notebooks.cells(text)) == text.count("{code-cell}") > 0


@pytest.mark.parametrize("folder", FOLDERS)
def test_pages_are_in_the_index(folder: str) -> None:
    index = (DOCS / folder / "index.md").read_text(encoding="utf-8")
    contents = set(re.search(r"```\{toctree\}\n:hidden:\n\n(.*?)\n```", index, flags=re.DOTALL)[1].split())
    pages = {page.stem for page in PAGES if page.parent.name == folder}
    assert contents == pages
    assert {f"{name}.md" for name in pages} <= set(LINK.findall(index))
