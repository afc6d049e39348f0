"""The operations of the DARTS space by name: what may stand on an edge (``distilnas.networks.darts`` builds them).

Each op has a short name for the text form of genotypes: ``s3`` is ``sep_conv_3x3``, ``sk`` is ``skip_connect``.
"""

from distilnas.errors import UsageError, nearest

SHORT_NAMES = {
    "none": "no",
    "max_pool_3x3": "mp",
    "avg_pool_3x3": "ap",
    "skip_connect": "sk",
    "sep_conv_3x3": "s3",
    "sep_conv_5x5": "s5",
    "dil_conv_3x3": "d3",
    "dil_conv_5x5": "d5",
    "sep_conv_7x7": "s7",
    "conv_7x1_1x7": "c7",
}
OPS = tuple(SHORT_NAMES)
PRIMITIVES = OPS[:8]  # the ops of the DARTS search, in the order of its alphas
_LONG_NAMES = {short: name for name, short in SHORT_NAMES.items()}


def check_op(name: object) -> None:
    """Raise ``UsageError`` with the nearest names unless ``name`` is one of ``OPS``."""
    if name not in OPS:
        raise UsageError(f"unknown DARTS op {name!r}; {nearest(str(name), OPS)}")


def op_of(text: str) -> str:
    """The op's full name from its full or short name; raises ``UsageError`` with the nearest names."""
    if text not in _LONG_NAMES and text not in OPS:
        raise UsageError(f"unknown DARTS op {text!r}; {nearest(text, _LONG_NAMES if len(text) < 4 else OPS)}")
    return _LONG_NAMES.get(text, text)
