"""The pages are true: their code runs, what it prints is there, nothing public is missing, links lead somewhere."""

import importlib.util
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import xr_modelfit
from xr_modelfit import FitStatus, tutorial

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
CHECKED = [page for page in PAGES if "\n```python" in page.read_text(encoding="utf-8")]
# Pages of code whose figures the site shows.
DRAWING = ("architecture.md", "errors.md", "first-fit.md", "instrument.md", "plots.md", "starts.md")
LINK = re.compile(r"\[[^]]+\]\(([^)\s]+)\)")

pytestmark = pytest.mark.skipif(not PAGES, reason="the docs folder is not there")


def loaded(script: str) -> ModuleType:
    """A script of the docs folder as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{script}", DOCS / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    return loaded("build")


def build(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DOCS / "build.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_the_first_example_is_a_clean_success() -> None:
    """Warnings are errors here, so that no fit of it fails."""
    done = build(DOCS.parent / "README.md")
    assert done.returncode == 0, done.stderr


def named(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


@pytest.mark.slow
@pytest.mark.parametrize("page", CHECKED, ids=named)
def test_code_runs_and_prints_what_the_page_says(page: Path, tmp_path: Path) -> None:
    pytest.importorskip("netCDF4", reason="pages write netCDF files")
    pytest.importorskip("zarr", reason="pages write zarr stores")
    done = build("--figures", tmp_path, page)
    assert done.returncode == 0, done.stderr
    drawn = json.loads((tmp_path / "figures.json").read_text())
    lines = ["", *page.read_text(encoding="utf-8").split("\n")]
    for figure in drawn:
        assert lines[figure["line"]] == "```"
        assert (tmp_path / figure["file"]).stat().st_size > 1000
    assert bool(drawn) == (page.name in DRAWING), "the list of pages with figures is DRAWING"


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


def test_figures_are_saved_below_their_blocks(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.md"
    draw = "figure, ax = plt.subplots()\nax.set(title='A $title$')\n"
    page.write_text(f"```python\nimport matplotlib.pyplot as plt\n{draw}print(1)\n```\n\n```text\n1\n```\n\n"
                    f"```python hidden\n{draw}{draw}```\n\n```python\nprint(len(plt.get_fignums()))\n```\n\n"
                    "```text\n0\n```\n")  # fmt: skip
    done = build("--figures", tmp_path, page)
    assert done.returncode == 0, done.stderr
    drawn = json.loads((tmp_path / "figures.json").read_text())
    assert [figure["line"] for figure in drawn] == [10, 17, 17]
    assert {figure["text"] for figure in drawn} == {"Figure: A $title$"}
    assert sorted(tmp_path.glob("*.png")) == sorted(tmp_path / figure["file"] for figure in drawn)


def test_a_page_that_draws_with_a_warning_is_wrong(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.md"
    page.write_text("```python\nimport matplotlib.pyplot as plt\nplt.figure().suptitle('\\u4e00')\n```\n")
    done = build("--figures", tmp_path, page)
    assert done.returncode == 1
    assert "Glyph" in done.stderr


@pytest.mark.parametrize("name", list(inspect.signature(xr_modelfit.fit).parameters)[1:])
def test_every_parameter_is_documented(name: str) -> None:
    text = "".join((DOCS / page).read_text() for page in ("fitting.md", "large.md", "result.md", "units.md"))
    assert re.search(rf"`{name}(=[^`]*)?`", text), f"no page mentions `{name}`"


@pytest.mark.parametrize("name", list(inspect.signature(xr_modelfit.fit).parameters)[1:])
def test_a_how_to_page_shows_every_parameter(name: str) -> None:
    folder = DOCS / "how-to"
    table = (folder / "index.md").read_text().partition("## Which argument?")[2]
    rows = [row for row in table.splitlines() if row.startswith("|") and f"`{name}`" in row]
    assert len(rows) == 1, "how-to/index.md lists each argument once"
    pages = [target.partition("#")[0] for target in LINK.findall(rows[0])]
    shown = [page for page in pages if re.search(rf"`{name}\b|\b{name}=", (folder / page).read_text())]
    assert shown, f"none of {pages} shows {name}"


def public_names() -> list[str]:
    """All that users may name: functions, classes, methods of the accessors, data sets."""
    names = [name for name in xr_modelfit.__all__ if not name.startswith("_")]
    for accessor in (xr_modelfit.ModelfitDataArray, xr_modelfit.ModelfitDataset):
        names += [f"{accessor.__name__}.{name}" for name in vars_of(accessor)]
    return names


def vars_of(accessor: type) -> list[str]:
    return [name for name in dir(accessor) if not name.startswith("_")]


@pytest.mark.parametrize("name", public_names())
def test_every_public_name_is_in_the_reference(name: str) -> None:
    """The site checks that these directives name something, and that every argument is in the docstring."""
    text = "".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    found = set(re.findall(r"^\.\. auto\w+:: ([\w.]+)$", text, flags=re.MULTILINE))
    data_method = name.startswith("ModelfitDataset.") and f"ModelfitDataArray.{name.partition('.')[2]}" in found
    assert name in found or data_method


def test_simulated_data_are_in_the_reference() -> None:
    page = (DOCS / "reference" / "tutorial.md").read_text()
    assert ".. automodule:: xr_modelfit.tutorial\n   :members:\n" in page
    assert tutorial.__all__


def test_the_version_is_the_same_everywhere() -> None:
    top = DOCS.parent
    with open(top / "pyproject.toml", "rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert f"\nversion: {version}\n" in (top / "docs" / "CITATION.cff").read_text()
    assert f"\n## {version}" in (DOCS / "changelog.md").read_text()
    assert f"version {version}." in (DOCS / "citing.md").read_text()


def test_the_figures_of_the_readme_are_those_of_the_page() -> None:
    """Rounded, and from one of several runs: within a third."""
    page, readme = (DOCS / "speed.md").read_text(), (DOCS.parent / "README.md").read_text()
    cases = {"a line in a real cube": "cube", "a line and a continuum": "continuum", "a star in a stamp": "stamps"}
    fitters = ("xr_modelfit, numpy", "xr_modelfit, numba", "DataArray.curvefit", "parallel_fit_dask, TRF, processes")
    for title, case in cases.items():
        (row,) = (row for row in readme.splitlines() if row.startswith(f"| {title}"))
        table = page.partition(f"\n| {case}: ")[2]
        for told, fitter in zip(row.strip(" |").split("|")[1:], fitters, strict=True):
            measured = re.search(rf"\| {re.escape(fitter)} \| \d+ \| ([\d.]+) \|", table)
            assert measured, (case, fitter)
            assert 0.75 < float(told) / float(measured[1]) < 1.33, (case, fitter)


def test_install_lines_name_no_index() -> None:
    """The package is on none yet."""
    for page in [*PAGES, DOCS.parent / "README.md"]:
        assert not re.search(r"pip install '?xr_modelfit", page.read_text()), page.name


def test_git_holds_one_picture() -> None:
    pictures = [path for path in DOCS.rglob("*.png") if "_build" not in path.parts]
    assert [path.name for path in pictures] == ["maps.png"]
    assert pictures[0].stat().st_size < 100_000


@pytest.mark.parametrize("status", FitStatus, ids=lambda status: status.meaning)
def test_every_status_is_documented(status: FitStatus) -> None:
    row = f"{status.value:3}  {status.meaning:18}  {status.sentence}"
    assert row in (DOCS / "result.md").read_text().splitlines()


def anchors(page: Path) -> set[str]:
    """The names of the headings of a page, as links have them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_check_of_the_site_finds_what_is_broken(tmp_path: Path) -> None:
    check = loaded("check_site").check
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.html").write_text('<h1 id="top">b</h1><a href="../index.html">up</a>')
    good = '<img src="x.png" alt="x"><a href="a/b.html#top">b</a><a href="https://example.org/none">away</a>'
    (tmp_path / "x.png").write_bytes(b"")
    (tmp_path / "index.html").write_text(good)
    assert check(tmp_path) == []
    broken = ('<a href="c.html">', '<a href="a/b.html#none">', '<img src="x.png">', '<img alt="y" src="y.png">')
    for text in (*broken, '<div class="output stderr">Warning</div>'):
        (tmp_path / "index.html").write_text(good + text)
        assert len(check(tmp_path)) == 1, text


@pytest.mark.parametrize("page", [*PAGES, DOCS.parent / "README.md"], ids=lambda page: page.name)
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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what old versions of matplotlib import
@pytest.mark.quick_share(3)
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_short_and_draws(name: str, tmp_path: Path) -> None:
    """Fifteen lines, and no warning; the pictures are large enough to print and not blank."""
    image = pytest.importorskip("matplotlib.image")
    pytest.importorskip("netCDF4", reason="a script writes a netCDF file")
    script = DOCS / "scripts" / name
    assert sum(bool(line.strip()) for line in script.read_text().splitlines()) <= 15
    command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", str(script)]
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


TOCTREE = re.compile(r"^(:::+|```+)\{toctree\}\n(.*?)^\1", flags=re.DOTALL | re.MULTILINE)


def below(page: Path) -> set[Path]:
    """The pages that the tables of contents of a page lead to, and itself."""
    found = {page}
    for _, body in TOCTREE.findall(page.read_text()):
        for line in body.splitlines():
            entry = re.sub(r".*<(.*)>$", r"\1", line.strip())
            if entry and not entry.startswith(":"):
                listed = (page.parent / f"{entry}.md").resolve()
                assert listed.is_file(), f"{named(page)}: no page {entry}"
                found |= below(listed)
    return found


def test_every_page_is_on_the_map() -> None:
    assert set(PAGES) <= below(DOCS / "index.md")
