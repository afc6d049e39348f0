"""``python -m distilnas``."""

from distilnas.cli.main import main

main()
