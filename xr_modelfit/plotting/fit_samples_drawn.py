"""The samples of one fit as they are drawn: dots, arrows for upper limits, and hollow dots for those left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xr_modelfit.plotting.fit_view import keep_in_view, mark_outside

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["DrawnSamples"]

_MANY = 400  # samples: from here on, small dots without bars


@dataclass(frozen=True)
class DrawnSamples:
    """Samples at places ``x`` (n,): their values, or what the model leaves of them, are drawn alike."""

    x: np.ndarray
    error: np.ndarray | None  # (2, n): below and above
    used: np.ndarray  # bool, as those that follow
    limits: np.ndarray
    clipped: np.ndarray

    def _hollow(self, y: np.ndarray) -> dict[str, tuple[np.ndarray, str]]:
        """Samples that took no part in the fit, with their colour."""
        left_out = np.isfinite(y) & ~self.used & ~self.clipped
        kinds = (("left_out", left_out, "0.6"), ("clipped", self.clipped, "C3"))
        return {name: (which, colour) for name, which, colour in kinds if which.any()}

    def draw(self, ax: Axes, y: np.ndarray, named: bool = True) -> dict[str, Any]:
        """Draw values (n,); ``named``: for the legend."""
        import matplotlib as mpl

        x, limits, colour = self.x, self.limits, mpl.rcParams["axes.labelcolor"]  # as the text: seen on any background
        dots = _draw_samples(ax, x, y, self.error, self.used & ~limits, colour, "data" if named else None)
        artists: dict[str, Any] = {"data": dots}
        if limits.any():
            label = "upper limit" if named else None
            artists["upper_limits"] = _draw_limits(ax, x[limits], y[limits], self.error, limits, label)
        for name, (which, edge) in self._hollow(y).items():
            artists[name] = _draw_hollow(ax, x[which], y[which], edge, name.replace("_", " ") if named else None)
        return artists

    def keep_in_view(self, ax: Axes, y: np.ndarray, model: np.ndarray) -> None:
        """Limits for the samples that were fitted and the model; arrows at the edge for others that are far."""
        hollow = self._hollow(y)
        others = np.concatenate([y[which] for which, _ in hollow.values()] or [y[:0]])
        error = None if self.x.size > _MANY else self.error
        keep_in_view(ax, np.where(self.used, y, np.nan), others, model, error)
        for which, colour in hollow.values():
            mark_outside(ax, self.x[which], y[which], colour)


def _draw_samples(
    ax: Axes, x: np.ndarray, y: np.ndarray, error: np.ndarray | None, used: np.ndarray, colour: Any, label: str | None
) -> Any:
    """Dots, with bars where there are errors (2, n) and they can be told apart."""
    many = x.size > _MANY
    shown = used & np.isfinite(y)
    bars = None if error is None or many else error[:, shown]
    return ax.errorbar(
        x[shown], y[shown], bars, fmt=".", color=colour, ecolor="0.6", elinewidth=1, markersize=2 if many else 5,
        label=label,
    )  # fmt: skip


def _draw_limits(
    ax: Axes, x: np.ndarray, y: np.ndarray, error: np.ndarray | None, limits: np.ndarray, label: str | None
) -> Any:
    """Arrows down from the limits, as long as their errors where these are known."""
    low, high = ax.get_ylim()
    length = np.full(x.size, 0.1 * (high - low)) if error is None else error[0, limits]
    return ax.errorbar(x, y, length, uplims=True, fmt="_", color="C4", elinewidth=1, label=label)


def _draw_hollow(ax: Axes, x: np.ndarray, y: np.ndarray, colour: str, label: str | None = None) -> Any:
    """Samples that took no part in the fit."""
    return ax.plot(x, y, "o", markersize=4, markerfacecolor="none", markeredgecolor=colour, label=label)[0]
