"""``make bench``: every benchmark, one after the other."""

from benchmarks import rate, solve

solve.main()
rate.main()
