"""Draw the picture of the README: maps of the 13CO line in L1448.

    python docs/readme_picture.py CUBE.fits

``CUBE.fits`` is the cube of astropy's page on parallel fitting. The picture, ``docs/maps.png``, is the only one in git.
"""

import io
import sys
from pathlib import Path

from astropy.modeling.models import Gaussian1D
from PIL import Image

import xr_modelfit
from xr_modelfit.__main__ import line_starts, noise_rms

PICTURE = Path(__file__).with_name("maps.png")
LABELS = {  # title and colour bar; the file has no unit of brightness
    "amplitude": ("brightness", "amplitude"),
    "mean": ("velocity", "mean [km/s]"),
    "stddev": ("width", "stddev [km/s]"),
}


def main(file: str) -> None:
    cube = xr_modelfit.from_fits(file).load()
    velocity = cube["velocity"]
    cube = cube.assign_coords(velocity=velocity.copy(data=velocity / 1000).assign_attrs(units="km/s"))
    start, noise = line_starts(cube, "velocity"), noise_rms(cube, "velocity")
    fit = cube.modelfit(Gaussian1D(), dim="velocity", p0=start, sigma=noise, errors="ignore")
    picture = fit.modelfit.plot(["amplitude", "mean", "stddev"], status=False, snr=5, col_wrap=3, figsize=(11, 3.6))
    for name, (title, label) in LABELS.items():
        picture.artists[name].axes.set_title(title)
        picture.artists[name].colorbar.set_label(label)
    picture.fig.get_layout_engine().set(wspace=0.05)
    drawn = io.BytesIO()
    picture.fig.savefig(drawn, dpi=90)
    Image.open(drawn).convert("RGB").quantize(128).save(PICTURE, optimize=True)  # a third of the size
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1])
