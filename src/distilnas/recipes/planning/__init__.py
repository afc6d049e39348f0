"""A forecast of hours, memory and disk for a configuration, from a probe of about a minute on this device."""

from distilnas.recipes.planning.forecast import EFFICIENCY, Forecast, StepForecast
from distilnas.recipes.planning.planner import plan

__all__ = ["EFFICIENCY", "Forecast", "StepForecast", "plan"]
