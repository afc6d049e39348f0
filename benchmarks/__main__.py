"""``make bench``: every benchmark, one after the other."""

from benchmarks import rate, retrain, solve

solve.main()
rate.main()
retrain.main()
