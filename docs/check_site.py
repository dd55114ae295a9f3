"""Check the pages of the built site: links, pictures, and outputs that should not be there.

    python docs/check_site.py [FOLDER]

Every link within the site must lead to a page, and to a heading on it. Every picture must be there and say what it
shows. No cell may show a warning. Exit status 1 if anything is wrong.
"""

import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

SITE = Path(__file__).resolve().parent / "_build" / "site"
MADE_BY_SPHINX = ("genindex.html", "search.html", "py-modindex.html")


@dataclass
class Page(HTMLParser):
    """What a page links to, and what can be linked on it."""

    path: Path
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attributes}
        self.ids |= {found[key] for key in ("id", "name") if key in found}
        for key in ("href", "src"):
            if found.get(key):
                self.links.append(found[key])
        if tag == "img" and not found.get("alt"):
            self.faults.append(f"a picture without text: {found.get('src')}")
        if "stderr" in found.get("class", "").split():
            self.faults.append("a cell shows what it wrote to the error output")


def check(site: Path) -> list[str]:
    """The faults of all pages."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}
    if not pages:
        return [f"{site}: no pages"]
    faults = []
    for path, page in pages.items():
        name = path.relative_to(site).as_posix()
        faults += [f"{name}: {fault}" for fault in page.faults]
        if name in MADE_BY_SPHINX:
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                faults.append(f"{name}: {link} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                faults.append(f"{name}: {link} names no place on its page")
    return faults


def main() -> int:
    site = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else SITE
    faults = check(site)
    print(*faults or ["all links lead somewhere"], sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
