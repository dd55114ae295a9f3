"""Runs the cells of a page as the site does: ``python notebooks.py PAGE [FOLDER]``.

The ``{code-cell}`` blocks run in order, in one namespace. Warnings are errors. What a cell ends with is shown, as text
or as HTML, unless by a semicolon. Figures that are open after a cell are drawn, and closed; they are saved if there is
a folder. Prints how many.
"""

import ast
import re
import sys
import warnings
from pathlib import Path
from typing import Any

CELL = re.compile(r"^```\{code-cell\} ipython3\n((?::\w+:[^\n]*\n)*)(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


def cells(text: str) -> list[tuple[int, str]]:
    """The line number and the code of each cell."""
    return [(text[: match.start(2)].count("\n") + 1, match[2]) for match in CELL.finditer(text)]


def run(code: str, line: int, page: str, namespace: dict[str, Any]) -> None:
    tree = ast.parse("\n" * (line - 1) + code, page)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, page, "exec"), namespace)
    if last is None or code.rstrip().endswith(";"):
        if last is not None:
            exec(compile(ast.Module([last], []), page, "exec"), namespace)
        return
    shown = eval(compile(ast.Expression(last.value), page, "eval"), namespace)
    if "matplotlib" in repr(type(shown)) or isinstance(shown, list | tuple):
        raise ValueError(f"line {last.lineno} shows {shown!r:.60}; end it with a semicolon")
    if hasattr(shown, "_repr_html_"):
        shown._repr_html_()
    elif shown is not None:
        print(shown)


def main(page: Path, folder: Path | None = None) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    warnings.simplefilter("error")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    drawn = 0
    for line, code in cells(page.read_text(encoding="utf-8")):
        run(code, line, page.name, namespace)
        for number in pyplot.get_fignums():
            figure = pyplot.figure(number)
            figure.canvas.draw()
            if folder is not None:
                figure.savefig(folder / f"{page.stem}-{drawn}.png", dpi=80, bbox_inches="tight")
            pyplot.close(figure)
            drawn += 1
    print("figures:", drawn)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
