"""Lifetimes from images of photon counts that decay, by a plain function."""

import numpy as np

import xr_modelfit
from xr_modelfit import tutorial


def decay(time, amplitude=10.0, tau=2.0, background=0.5):
    return amplitude * np.exp(-time / tau) + background


photons = tutorial.lifetime_image()
counts = xr_modelfit.BatchLSQFitter(loss="poisson")
fit = photons.modelfit(decay, dim="time", where=photons.sum("time") > 60, fitter=counts, errors="ignore")
print(fit.modelfit.report())
picture = fit.modelfit.plot(["amplitude", "tau"], stderr=True, status=False)
picture.fig.savefig("lifetimes.png", dpi=200)
photons.modelfit.plot_fit(fit, y=10, x=18).fig.savefig("one_decay.png", dpi=200)
