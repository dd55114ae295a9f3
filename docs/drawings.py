"""Drawings that pages show: `architecture.md` imports them while `build.py` runs it."""

from typing import Any

BOX = {"boxstyle": "round,pad=0.5", "linewidth": 1.2}
LABELLED, NUMERIC = "#cfe3f5", "#fbe3c0"


def way_of_a_call() -> Any:
    """What happens to data between the call and the result."""
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(10, 4.2))
    ax.set(xlim=(0, 100), ylim=(-6, 40))
    ax.axis("off")
    boxes = [
        (13, 33, "data, model, dim,\ncoords, where, sigma,\np0, bounds", LABELLED, "the call"),
        (42, 33, "names, units and starts\nare resolved, and the\nmodel is tried", LABELLED, "call, labels, units"),
        (74, 33, "Problem: the model\nas a function,\nwith derivatives", NUMERIC, "models, tracing, analysis"),
        (74, 10, "blocks of fits (b, n):\nstart, iterate, judge,\ntry again", NUMERIC, "estimates, fitters"),
        (42, 10, "one packed array\nbecomes a Dataset with\nunits, flags and record", LABELLED, "records"),
        (13, 10, "parameters, errors,\nstatus; evaluate, plot,\nderive, store", LABELLED, "results, plotting, stores"),
    ]  # fmt: skip
    for x, y, text, colour, rooms in boxes:
        ax.text(x, y, text, ha="center", va="center", fontsize=10, bbox={**BOX, "facecolor": colour})
        ax.text(x, y - 7.5, rooms, ha="center", va="center", fontsize=8.5, style="italic", color="0.3")
    arrows = [((24, 33), (29, 33)), ((55, 33), (61.5, 33)), ((62, 10), (55, 10)), ((29, 10), (24, 10))]
    for start, end in [*arrows, ((74, 23.5), (74, 15.5))]:
        ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "linewidth": 1.5, "color": "0.2"})
    ax.text(75.5, 19.5, "execution cuts the data:\nxarray.apply_ufunc, dask", fontsize=8.5, va="center", color="0.3")
    for x, colour, text in ((4, LABELLED, "labelled: xarray, units"), (35, NUMERIC, "numeric: NumPy arrays only")):
        ax.text(x, -4, "   ", fontsize=7, va="center", bbox={"facecolor": colour, "edgecolor": "0.2"})
        ax.text(x + 3.5, -4, text, fontsize=8.5, va="center")
    return figure
