"""Sphinx extension: pages whose outputs are checked show the figures that their code draws.

A page with ```python blocks is run by `build.py` before it is read. A page that is not true is a warning, and warnings
are errors. The figures of a page are kept in ``_build/figures`` until the page or the package changes.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

DOCS = Path(__file__).resolve().parents[1]
PACKAGE = DOCS.parent / "xr_modelfit"
FIGURES = DOCS / "_build" / "figures"
RESULTS_DEPEND_ON = ("numpy", "scipy", "xarray", "astropy", "dask", "numba", "matplotlib", "zarr", "netCDF4")

HIDDEN = re.compile(r"^```python hidden\n.*?^```\n", flags=re.DOTALL | re.MULTILINE)

logger = logging.getLogger(__name__)


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def digest_of_package() -> str:
    """What outputs depend on beside the page: the code of the package, and the versions of others."""
    digest = hashlib.sha256(" ".join(map(installed, RESULTS_DEPEND_ON)).encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def show_figures(app: Sphinx, docname: str, source: list[str]) -> None:
    """Run the page, unless it has been run as it is, and put its figures below the blocks that drew them."""
    path = Path(app.env.doc2path(docname))
    if path.suffix != ".md" or "\n```python" not in source[0] or not app.config.checked_pages_run:
        return
    page = hashlib.sha256((source[0] + app.config.checked_pages_digest).encode()).hexdigest()[:16]
    folder = FIGURES / docname / page
    if not (folder / "figures.json").is_file():
        shutil.rmtree(folder.parent, ignore_errors=True)
        folder.mkdir(parents=True)
        command = [sys.executable, str(DOCS / "build.py"), "--figures", str(folder), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(folder)
            logger.warning("the page is not true: %s", done.stderr.strip(), location=docname)
            return
    lines = source[0].split("\n")
    for figure in reversed(json.loads((folder / "figures.json").read_text(encoding="utf-8"))):
        text = figure["text"].translate(str.maketrans({c: f"\\{c}" for c in "[]*_`$\\"}))
        address = "/" + (folder / figure["file"]).relative_to(DOCS).as_posix()
        lines[figure["line"] : figure["line"]] = ["", f"![{text}]({address})"]
    source[0] = HIDDEN.sub("", "\n".join(lines))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("checked_pages_digest", digest_of_package(), "env")
    app.add_config_value("checked_pages_run", True, "env", bool)
    app.connect("source-read", show_figures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
