"""Sphinx extension for the reference: accessor methods by the names that users write, and tables made from the package.

Directives, without arguments:

- ``status-table``: each `FitStatus`, with its number and its sentence;
- ``variable-table``: the variables of a result, with what their attributes say of them.
"""

from typing import Any, ClassVar

import numpy as np
import xarray as xr
from astropy.modeling.models import Linear1D
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import xr_modelfit
from xr_modelfit import FitStatus

SHOWN = {"ModelfitDataArray.": "DataArray.modelfit.", "ModelfitDataset.": "Dataset.modelfit."}


def rename_accessors(app: Sphinx, doctree: nodes.document) -> None:
    """Show ``Dataset.modelfit.plot`` in place of the class that holds the method."""
    for node in doctree.findall(addnodes.desc_addname):
        shown = SHOWN.get(node.astext().removeprefix("xr_modelfit."))
        if shown:
            node.children = [nodes.Text(shown)]


class Table(SphinxDirective):
    """A table with a row of headings; the cells of the columns in ``code`` are set as code."""

    headings: ClassVar[tuple[str, ...]]
    code: ClassVar[tuple[int, ...]]

    def rows(self) -> list[tuple[str, ...]]:
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        group = nodes.tgroup("", cols=len(self.headings))
        group += [nodes.colspec(colwidth=1) for _ in self.headings]
        head, body = nodes.thead(), nodes.tbody()
        head += self.row([nodes.Text(word) for word in self.headings])
        for row in self.rows():
            body += self.row(
                [nodes.literal("", cell) if i in self.code else nodes.Text(cell) for i, cell in enumerate(row)]
            )
        group += [head, body]
        return [nodes.table("", group)]

    def row(self, cells: list[nodes.Node]) -> nodes.row:
        return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


class StatusTable(Table):
    headings = ("code", "meaning", "name in FitStatus", "cause and remedy")
    code = (1, 2)

    def rows(self) -> list[tuple[str, ...]]:
        return [(str(one.value), one.meaning, one.name, one.sentence) for one in FitStatus]


class VariableTable(Table):
    """Made from a fit of a straight line, with all that can be asked for."""

    headings = ("variable, here of a straight line", "dimensions", "type", "what its attributes say of it")
    code = (0, 1, 2)

    def rows(self) -> list[tuple[str, ...]]:
        time = xr.Variable("time", np.arange(5.0), {"units": "s"})
        data = xr.DataArray(2 * np.ones((2, 5)) * time.values, dims=("y", "time"), coords={"time": time})
        data.attrs["units"] = "K"
        fit = data.modelfit(Linear1D(1.0, 0.0), dim="time", covariance=True, fit_info=["start", "n_reached"])
        found = []
        for name, variable in fit.data_vars.items():
            said = variable.attrs.get("long_name", "")
            unit = variable.attrs.get("units")
            text = f"{said} [{unit}]" if unit else said
            found.append((str(name), ", ".join(map(str, variable.dims)), str(variable.dtype), text))
        return found


def setup(app: Sphinx) -> dict[str, Any]:
    assert xr_modelfit.ModelfitDataset.__name__ in "".join(SHOWN)
    app.connect("doctree-read", rename_accessors)
    app.add_directive("status-table", StatusTable)
    app.add_directive("variable-table", VariableTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
