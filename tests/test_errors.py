"""Exit codes and help with mistyped names."""

from distilnas.errors import DistilnasError, InfeasibleError, UsageError, nearest


def test_exit_codes():
    assert [error.exit_code for error in (DistilnasError, UsageError, InfeasibleError)] == [1, 2, 3]


def test_nearest():
    assert nearest("epoch", ["epochs", "batch"]) == "did you mean 'epochs'?"
    assert nearest("xyz", ["b", "a"]) == "valid: a, b."
    assert nearest("xyz", map(str, range(1000, 1100))) == "none of the 100 valid names is close."
