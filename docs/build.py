"""Run the code of every page and compare what it prints with what the page says.

    python docs/build.py [--write] [--figures FOLDER] [PAGE ...]

The ```python blocks of a page run in order, in one namespace, in a temporary folder. A ```text block that follows is
what the block prints; ``--write`` puts it there. Figures that a block leaves open are closed after it; ``--figures``
saves them in a folder, with ``figures.json``, which says where on the page each belongs. Warnings are errors. Words
after ``python`` change that:

- ``raises``: the block must raise; the error is what it prints;
- ``warns``: the block must warn; the warnings are what it prints;
- ``hidden``: the site shows the figures of the block, but not the block.

Exit status 0: every page is true. 1: some page is not; page, line and reason are printed.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import textwrap
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FENCE = "```"
WIDTH = 110  # of messages
DPI = 110  # of figures
DOCS = Path(__file__).resolve().parent


class PageError(Exception):
    """A page is wrong: where and why."""


@dataclass(frozen=True)
class Block:
    """A fenced block: ``lines[start:stop]`` are inside the fences, ``start`` is also the line number of its opening."""

    language: str
    options: tuple[str, ...]
    start: int
    stop: int


def blocks(lines: list[str], page: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    opening: int | None = None
    for number, line in enumerate(lines):
        if not line.startswith(FENCE):
            continue
        if opening is None:
            opening = number
            continue
        language, *options = lines[opening][len(FENCE) :].split() or [""]
        if language == "python" and not set(options) <= {"raises", "warns", "hidden"}:
            raise PageError(f"{page}:{opening + 1}: unknown words after python: {' '.join(options)}")
        yield Block(language, tuple(options), opening + 1, number)
        opening = None
    if opening is not None:
        raise PageError(f"{page}:{opening + 1}: the block is not closed")


def run(block: Block, lines: list[str], page: str, namespace: dict[str, Any]) -> str:
    """What a block prints, with the error or the warnings that it announces."""
    source = "\n" * block.start + "\n".join(lines[block.start : block.stop])  # line numbers are those of the page
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), warnings.catch_warnings(record="warns" in block.options) as caught:
            warnings.simplefilter("always" if "warns" in block.options else "error")
            leave_out_old_matplotlib()
            exec(compile(source, page, "exec"), namespace)
    except Exception as error:
        if "raises" not in block.options:
            own = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == page]
            line = own[-1] if own else getattr(error, "lineno", None) or block.start
            raise PageError(f"{page}:{line}: {type(error).__name__}: {error}") from error
        return printed.getvalue() + message(error)
    if "raises" in block.options:
        raise PageError(f"{page}:{block.start}: the block should raise an error, and does not")
    if "warns" in block.options and not caught:
        raise PageError(f"{page}:{block.start}: the block should warn, and does not")
    return printed.getvalue() + "".join(message(one.message) for one in caught or ())


def leave_out_old_matplotlib() -> None:
    """Matplotlib before 3.10 calls names of pyparsing that have become old."""
    for text in (".*deprecated - use", ".*argument is deprecated, use"):
        warnings.filterwarnings("ignore", text, DeprecationWarning)


def message(error: Warning | BaseException) -> str:
    """An error or a warning as Python shows it, on lines that fit a page."""
    text = f"{type(error).__name__}: {error}"
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


@dataclass(frozen=True)
class Figure:
    """A picture that a block drew: ``line`` is the line number of the last fence before it."""

    line: int
    file: str
    text: str


def close_figures(stem: str, line: int, folder: Path | None) -> list[Figure]:
    """Close the figures that are open, as notebooks do after each cell; save them if there is a folder."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return []
    drawn = []
    for count, number in enumerate(pyplot.get_fignums()):
        figure = pyplot.figure(number)
        if folder is not None:
            file = f"{stem}-{line}-{count}.png"
            with warnings.catch_warnings(action="error"):
                leave_out_old_matplotlib()
                figure.savefig(folder / file, dpi=DPI, bbox_inches="tight")
            drawn.append(Figure(line, file, description(figure)))
        pyplot.close(figure)
    return drawn


def description(figure: Any) -> str:
    """What a picture shows, for those who do not see it: its titles or, without any, the labels of its axes."""
    titles = [figure.get_suptitle(), *(ax.get_title(where) for ax in figure.axes for where in ("left", "center"))]
    labels = [label for ax in figure.axes for label in (ax.get_xlabel(), ax.get_ylabel())]
    words = list(dict.fromkeys(" ".join(word.split()) for word in titles if word) or dict.fromkeys(labels))
    return "Figure: " + "; ".join(word for word in words if word)


def build(path: Path, write: bool, figures: Path | None = None) -> list[str]:
    """Run one page; the faults found in it."""
    lines = path.read_text(encoding="utf-8").split("\n")
    found = list(blocks(lines, path.name))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    faults: list[str] = []
    replacements: list[tuple[int, int, list[str]]] = []
    drawn: list[Figure] = []
    for i, block in enumerate(found):
        if block.language != "python":
            continue
        output = run(block, lines, path.name, namespace).rstrip("\n")
        printed = [line.rstrip() for line in output.split("\n")] if output else []
        after = found[i + 1] if i + 1 < len(found) else None
        told = after is not None and after.language == "text" and not "".join(lines[block.stop + 1 : after.start - 1])
        drawn += close_figures(path.stem, after.stop + 1 if told and after else block.stop + 1, figures)
        if told:
            assert after is not None
            expected = lines[after.start : after.stop]
            if printed != expected:
                replacements.append((after.start, after.stop, printed))
                both = f"the block prints\n{indented(printed)}\nthe page says\n{indented(expected)}"
                faults.append(f"{path.name}:{after.start}: {both}")
        elif printed:
            replacements.append((block.stop + 1, block.stop + 1, ["", f"{FENCE}text", *printed, FENCE]))
            faults.append(f"{path.name}:{block.start}: no text block tells what is printed:\n{indented(printed)}")
    if figures is not None:
        (figures / "figures.json").write_text(json.dumps([asdict(one) for one in drawn], indent=1), encoding="utf-8")
    if write and replacements:
        for start, stop, new in reversed(replacements):
            lines[start:stop] = new
        path.write_text("\n".join(lines), encoding="utf-8")
        print(f"{path.name}: {len(replacements)} outputs written")
        return []
    return faults


def pages() -> list[Path]:
    """The pages of this folder, without what a build of the site left in it."""
    return sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.relative_to(DOCS).parts)


def indented(lines: list[str]) -> str:
    return textwrap.indent("\n".join(lines), "    ") if lines else "    (nothing)"


@contextlib.contextmanager
def temporary_folder() -> Iterator[None]:
    """Work in a folder of its own, which is removed afterwards."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE", help="Markdown files [all of this folder]")
    parser.add_argument("--write", action="store_true", help="write what the blocks print into the pages")
    parser.add_argument("--figures", type=Path, metavar="FOLDER", help="save what the blocks draw")
    options = parser.parse_args()
    figures = options.figures and options.figures.resolve()
    os.environ.setdefault("MPLBACKEND", "Agg")
    faults: list[str] = []
    for path in [page.resolve() for page in options.pages] or pages():
        begin = time.perf_counter()
        try:
            with temporary_folder():
                here = build(path, options.write, figures)
        except PageError as error:
            here = [str(error)]
        print(f"{path.name}: {'wrong' if here else 'true'}, {time.perf_counter() - begin:.1f} s", flush=True)
        faults += here
    print(*faults, sep="\n", file=sys.stderr, end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":  # processes that a page starts import this file
    raise SystemExit(main())
