"""Lifetimes from a stack of photon counts that decay, by a plain function."""

import numpy as np

import xr_modelfit
from xr_modelfit import tutorial


def decay(time, amplitude=100.0, tau=2.0, background=1.0):
    return amplitude * np.exp(-time / tau) + background


stack = tutorial.decay_stack()
fit = stack.modelfit(decay, dim="time", fitter=xr_modelfit.BatchLSQFitter(loss="poisson"))
print(fit.modelfit.report())
picture = fit.modelfit.plot(["amplitude", "tau"], stderr=True, status=False)
picture.fig.savefig("lifetimes.png", dpi=200)
stack.modelfit.plot_fit(fit, y=10, x=10).fig.savefig("one_decay.png", dpi=200)
