"""Size of the tensors in the exported weights file: parameters and buffers, each in its own precision.

The file itself is larger by its header, which names the tensors (about 90 bytes each): that is no part of the measure,
as it depends on the names and not on what is stored.
"""

from distilnas.costing.measures import Part


def measure(part: Part) -> int:
    """Those shared by several layers count as often as the file holds them."""
    return sum(tensor.numel() * tensor.element_size() for tensor in part.module.state_dict().values())
