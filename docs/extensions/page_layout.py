"""Sphinx extension: classes for the style sheet, by which messages and long code in tables are wrapped."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

MESSAGE = re.compile(r"\w+(Error|Warning): ")
SHORT, LONG = 12, 40  # characters


def unwrap_messages(app: Sphinx, tree: nodes.document) -> None:
    """Join the lines of an error or a warning; the style sheet wraps them at the width of the page."""
    for block in tree.findall(nodes.literal_block):
        text = block.astext()
        if block.get("language") == "text" and MESSAGE.match(text) and "\n\n" not in text:
            joined = re.sub(r"\s*\n\s*", " ", text.strip())
            block["classes"].append("message")
            block.rawsource = joined
            block.children = []
            block += nodes.Text(joined)


def mark_cells(app: Sphinx, tree: nodes.document) -> None:
    """Mark short cells, which need no minimal width on narrow screens, and long code, which may be wrapped."""
    for cell in tree.findall(nodes.entry):
        if len(cell.astext()) <= SHORT:
            cell["classes"].append("short")
        for code in cell.findall(nodes.literal):
            if len(code.astext()) > LONG:
                code["classes"].append("long")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-read", unwrap_messages)
    app.connect("doctree-read", mark_cells)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
