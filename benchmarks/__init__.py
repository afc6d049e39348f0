"""Committed results of ``distilnas bench`` and how they are made: ``make bench`` on a CPU, ``gpu.py`` on a GPU."""
