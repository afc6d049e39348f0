"""Configuration files: YAML merged with overrides, validated against dataclasses; no torch."""

from distilnas.config.load import flatten, merge, overrides_from, parse
from distilnas.config.units import parse_amount

__all__ = ["flatten", "merge", "overrides_from", "parse", "parse_amount"]
