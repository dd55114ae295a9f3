"""What a figure shows, as the renderer gets it: the words, and whether they are in each other's way."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

# matplotlib 3.8 with a newer pyparsing
OLD_WARNINGS = [
    pytest.mark.filterwarnings("ignore:.*deprecated - use:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*argument is deprecated, use:DeprecationWarning"),
]


def words(figure: Any) -> list[tuple[str, Any]]:
    """All texts that are drawn, with their boxes in pixels; asked of the renderer, since sky axes make theirs late."""
    from matplotlib.text import Text  # an older one warns on import, so not where tests are collected

    found: list[tuple[str, Any]] = []
    draw = Text.draw

    def watched(self: Any, renderer: Any, *args: Any, **kwargs: Any) -> None:
        if self.get_visible() and self.get_text().strip():
            found.append((self.get_text(), self.get_window_extent(renderer)))
        draw(self, renderer, *args, **kwargs)

    figure.canvas.draw()
    figure.set_layout_engine("none")  # all stands where it will; no second pass
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", watched)
        figure.canvas.draw()
    return found


def clashes(figure: Any) -> list[str]:
    """Texts that overlap by more than a pixel, or leave the figure."""
    found = words(figure)
    assert found
    width, height = figure.canvas.get_width_height()
    bad = []
    for (a, one), (b, other) in combinations(found, 2):
        wide = min(one.x1, other.x1) - max(one.x0, other.x0)
        high = min(one.y1, other.y1) - max(one.y0, other.y0)
        if wide > 1 and high > 1:
            bad.append(f"{a!r} and {b!r} overlap")
    bad += [
        f"{a!r} is cut off"
        for a, box in found
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]
    return bad


def on_panels(figure: Any) -> list[str]:
    """Labels of colour bars that lie on a panel beside them."""
    figure.canvas.draw()
    bars = [ax for parent in figure.axes for ax in parent.child_axes]
    return [
        f"{bar.get_ylabel()!r} lies on {ax.get_title()!r}"
        for bar in bars
        for ax in figure.axes
        if ax.get_visible() and bar not in ax.child_axes and _shared(bar.get_tightbbox(), ax.get_window_extent()) > 1
    ]


def _shared(one: Any, other: Any) -> float:
    from matplotlib.transforms import Bbox

    both = Bbox.intersection(one, other)
    return 0.0 if both is None else min(both.width, both.height)
