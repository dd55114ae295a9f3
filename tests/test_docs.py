"""The pages are true: their code runs, what it prints is there, nothing public is missing, links lead somewhere."""

import importlib.util
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import xr_modelfit
from xr_modelfit import FitStatus

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))
LINK = re.compile(r"\[[^]]+\]\(([^)\s]+)\)")

pytestmark = pytest.mark.skipif(not PAGES, reason="the docs folder is not there")


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


def build(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DOCS / "build.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_the_first_example_is_a_clean_success() -> None:
    """Warnings are errors here, so that no fit of it fails."""
    done = build(DOCS.parent / "README.md")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_runs_and_prints_what_the_page_says(page: Path) -> None:
    pytest.importorskip("netCDF4", reason="pages write netCDF files")
    pytest.importorskip("zarr", reason="pages write zarr stores")
    done = build(page)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        ("```python\n1 / 0\n```\n", 2, "ZeroDivisionError"),
        ("```python\nx = 1\n```\n\n```python\n\nprint(y)\n```\n", 7, "NameError"),
        ("```python\nx = (\n```\n", 2, "SyntaxError"),
        ("```python\nimport warnings\nwarnings.warn('careful')\n```\n", 3, "UserWarning: careful"),
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", 5, "the page says"),
        ("```python\nprint(1)\n```\n", 1, "no text block"),
        ("```python\nx = 1\n```\n\n```text\n2\n```\n", 5, "(nothing)"),
        ("```python raises\nx = 1\n```\n", 1, "should raise"),
        ("```python warns\nx = 1\n```\n", 1, "should warn"),
        ("```python raise\nx = 1\n```\n", 1, "unknown words"),
        ("```python\nx = 1\n", 1, "not closed"),
    ],
)
def test_a_wrong_page_fails_with_page_and_line(
    text: str, line: int, fault: str, tmp_path: Path, builder: ModuleType
) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    try:
        faults = builder.build(page, False)
    except builder.PageError as error:
        faults = [str(error)]
    assert len(faults) == 1
    assert faults[0].startswith(f"page.md:{line}: ")
    assert fault in faults[0]


def test_a_wrong_page_gives_a_bad_exit_status(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("```python\n1 / 0\n```\n")
    done = build(tmp_path / "page.md")
    assert done.returncode == 1
    assert "page.md:2: ZeroDivisionError" in done.stderr


def test_write_makes_a_page_true(tmp_path: Path, builder: ModuleType) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n\n```python\nprint(1)\n```\n\nb\n\n```python raises\n1 / 0\n```\n\n```text\nold\n```\nc\n")
    builder.build(page, True)
    assert builder.build(page, False) == []
    assert page.read_text() == (
        "a\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\nb\n\n"
        "```python raises\n1 / 0\n```\n\n```text\nZeroDivisionError: division by zero\n```\nc\n"
    )


@pytest.mark.parametrize("name", list(inspect.signature(xr_modelfit.fit).parameters)[1:])
def test_every_parameter_is_documented(name: str) -> None:
    text = "".join((DOCS / page).read_text() for page in ("fitting.md", "large.md", "result.md", "units.md"))
    assert re.search(rf"`{name}(=[^`]*)?`", text), f"no page mentions `{name}`"


@pytest.mark.parametrize("status", FitStatus, ids=lambda status: status.meaning)
def test_every_status_is_documented(status: FitStatus) -> None:
    row = f"{status.value:3}  {status.meaning:18}  {status.sentence}"
    assert row in (DOCS / "result.md").read_text().splitlines()


def anchors(page: Path) -> set[str]:
    """The names of the headings of a page, as links have them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_resolve(page: Path) -> None:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in LINK.findall(prose):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.is_file(), f"{page.name}: no page {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name}: no heading {target}"


SCRIPTS = {  # and what each writes
    "velocity_maps.py": {"velocity_maps.png", "velocity_maps.nc"},
    "trends.py": {"trends.png"},
    "decays.py": {"lifetimes.png", "one_decay.png"},
}


def test_the_scripts_are_those_that_are_run() -> None:
    assert {path.name for path in (DOCS / "scripts").glob("*.py")} == set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_short_and_draws(name: str, tmp_path: Path) -> None:
    """Fifteen lines, and no warning; the pictures are large enough to print and not blank."""
    image = pytest.importorskip("matplotlib.image")
    pytest.importorskip("netCDF4", reason="a script writes a netCDF file")
    script = DOCS / "scripts" / name
    assert sum(bool(line.strip()) for line in script.read_text().splitlines()) <= 15
    command = [sys.executable, "-W", "error", str(script)]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "MPLBACKEND": "Agg"}, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == SCRIPTS[name]
    for path in tmp_path.glob("*.png"):
        pixels = image.imread(path)[..., :3]
        assert pixels.shape[1] >= 1000
        assert pixels.std() > 0.05


def test_every_page_is_on_the_map() -> None:
    linked = LINK.findall((DOCS / "index.md").read_text())
    assert {page.name for page in PAGES} - {"index.md"} <= set(linked)
