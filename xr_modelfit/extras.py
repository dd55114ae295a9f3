"""Optional modules, imported where they are used."""

from importlib import import_module
from typing import Any

__all__ = ["needed"]


def needed(module: str, extra: str, what: str) -> Any:
    """An optional module; where it is not there, the ImportError names the extra that brings it."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        remedy = f"pip install {package}. The extra '{extra}' of this package brings it."
        raise ImportError(f"{what} needs {package}: {remedy}") from error
