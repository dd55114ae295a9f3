"""Trend per decade with its significance, and the season, of monthly temperatures."""

import xarray as xr
from astropy.modeling.models import Linear1D, Sine1D

from xr_modelfit import tutorial

series = tutorial.seasonal_series(24, 36).assign_coords(time=xr.date_range("1980-01-01", periods=360, freq="MS"))
season = Sine1D(5, 1 / 365.2425, name="season", fixed={"frequency": True})
fit = series.modelfit(Linear1D(name="trend") + season, dim="time", noise="ar1", errors="ignore")
found = fit.modelfit.derived("per decade", "season_wave_amplitude", "season_maximum_day")
found["trend_slope_per_decade"] = found["trend_slope_per_decade"].where(fit.modelfit.p_value("trend_slope") < 0.05)
picture = found.modelfit.plot(stderr=True)
picture.fig.supxlabel("grey: no data, or a trend with p > 0.05", fontsize="small")
picture.fig.savefig("trends.png", dpi=200)
