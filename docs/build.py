"""Run the code of every page and compare what it prints with what the page says.

    python docs/build.py [--write] [PAGE ...]

The ```python blocks of a page run in order, in one namespace, in a temporary folder. A ```text block that follows is
what the block prints; ``--write`` puts it there. Warnings are errors. Two words after ``python`` change that:

- ``raises``: the block must raise; the error is what it prints;
- ``warns``: the block must warn; the warnings are what it prints.

Exit status 0: every page is true. 1: some page is not; page, line and reason are printed.
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import textwrap
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE = "```"
WIDTH = 110  # of messages
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
        if language == "python" and not set(options) <= {"raises", "warns"}:
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


def message(error: Warning | BaseException) -> str:
    """An error or a warning as Python shows it, on lines that fit a page."""
    text = f"{type(error).__name__}: {error}"
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def build(path: Path, write: bool) -> list[str]:
    """Run one page; the faults found in it."""
    lines = path.read_text(encoding="utf-8").split("\n")
    found = list(blocks(lines, path.name))
    namespace: dict[str, Any] = {"__name__": "__main__"}
    faults: list[str] = []
    replacements: list[tuple[int, int, list[str]]] = []
    for i, block in enumerate(found):
        if block.language != "python":
            continue
        output = run(block, lines, path.name, namespace).rstrip("\n")
        printed = [line.rstrip() for line in output.split("\n")] if output else []
        after = found[i + 1] if i + 1 < len(found) else None
        told = after is not None and after.language == "text" and not "".join(lines[block.stop + 1 : after.start - 1])
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
    if write and replacements:
        for start, stop, new in reversed(replacements):
            lines[start:stop] = new
        path.write_text("\n".join(lines), encoding="utf-8")
        print(f"{path.name}: {len(replacements)} outputs written")
        return []
    return faults


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
    options = parser.parse_args()
    os.environ.setdefault("MPLBACKEND", "Agg")
    faults: list[str] = []
    for path in [page.resolve() for page in options.pages] or sorted(DOCS.glob("*.md")):
        begin = time.perf_counter()
        try:
            with temporary_folder():
                here = build(path, options.write)
        except PageError as error:
            here = [str(error)]
        print(f"{path.name}: {'wrong' if here else 'true'}, {time.perf_counter() - begin:.1f} s", flush=True)
        faults += here
    print(*faults, sep="\n", file=sys.stderr, end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":  # processes that a page starts import this file
    raise SystemExit(main())
