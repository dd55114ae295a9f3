"""How Sphinx builds the site. `contributing.md` says how to run it, and why it is made of these parts."""

import shutil
import sys
import urllib.request
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS / "extensions"))

from checked_pages import digest_of_package  # noqa: E402
from numpydoc.xref import DEFAULT_LINKS  # noqa: E402

import xr_modelfit  # noqa: E402

project = "xr_modelfit"
author = "xr_modelfit developers"
copyright = author
version = release = xr_modelfit.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_design",
    "checked_pages",
    "page_layout",
    "reference_tables",
]
exclude_patterns = ["_build", "extensions"]
nitpicky = True

# Pages
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4  # links name headings as on GitHub

# Notebooks: run at build, kept until a cell or the package changes. What they write to the error output is a warning.
_caches = DOCS / "_build" / "notebooks"
nb_execution_mode = "cache"
nb_execution_cache_path = str(_caches / digest_of_package())
nb_execution_in_temp = True  # what cells write is not left here
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300
nb_output_stderr = "warn"
nb_merge_streams = True
for old in _caches.glob("*"):
    if old != Path(nb_execution_cache_path):
        shutil.rmtree(old)

# Reference
add_module_names = False
autodoc_typehints = "none"  # types are in the docstrings, with shapes and units
autodoc_member_order = "bysource"
autosummary_generate = False
default_role = "autolink"  # `name` in a docstring: a link if there is such an object
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"  # but these words:
DEFAULT_LINKS.clear()  # links to int and str say nothing, and are not resolved without a network
numpydoc_xref_aliases = {
    "DataArray": "xarray.DataArray",
    "Dataset": "xarray.Dataset",
    "FitReport": "xr_modelfit.FitReport",
    "FitPlan": "xr_modelfit.FitPlan",
    "FitStatus": "xr_modelfit.FitStatus",
    "CoarseStart": "xr_modelfit.CoarseStart",
    "BatchLSQFitter": "xr_modelfit.BatchLSQFitter",
}

# Other packages: links where there is a network and they answer, plain text otherwise.
_INVENTORIES = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
    "scipy": "https://docs.scipy.org/doc/scipy/",
    "xarray": "https://docs.xarray.dev/en/stable/",
    "astropy": "https://docs.astropy.org/en/stable/",
    "dask": "https://docs.dask.org/en/stable/",
    "matplotlib": "https://matplotlib.org/stable/",
}


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}objects.inv", timeout=5):
            return True
    except OSError:
        return False


intersphinx_mapping = {name: (address, None) for name, address in _INVENTORIES.items() if _answers(address)}
nitpick_ignore_regex = [("py:.*", rf"{name}(\..*)?") for name in _INVENTORIES if name != "python"]
nitpick_ignore_regex += [("py:.*", r"(str|int|float|bool|dict|list|tuple|object|None|\w+Error)")]

# Look
html_theme = "pydata_sphinx_theme"
html_title = "xr_modelfit"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_domain_indices = False
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"index": []}
html_theme_options = {
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "article_footer_items": [],
}
copybutton_exclude = ".linenos, .gp, .go"
