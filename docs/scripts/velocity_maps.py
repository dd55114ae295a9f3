"""Velocity and flux of the line in a spectral cube: python velocity_maps.py [cube.fits]"""

import sys

from astropy.modeling.models import Gaussian1D

import xr_modelfit
from xr_modelfit import tutorial

cube = xr_modelfit.from_fits(sys.argv[1]) if sys.argv[1:] else tutorial.line_cube()
dim = cube.dims[0]
fit = cube.modelfit(Gaussian1D(), dim=dim, p0="estimate", errors="ignore")
print(fit.modelfit.report())
maps = fit.assign(fit.modelfit.derived("flux", data=cube))
picture = maps.modelfit.plot(["mean", "flux"], stderr=True, snr=5, status=False)
picture.fig.savefig("velocity_maps.png", dpi=200)
maps.to_netcdf("velocity_maps.nc")
