"""A network as a program of plain PyTorch: ``torch.export.load(path).module()`` needs neither distilnas nor timm."""

import copy
import io
from pathlib import Path

import torch
from torch import Tensor, nn

from distilnas.errors import DistilnasError
from distilnas.files import write_bytes

PROGRAM = "model.pt2"


def export_program(model: nn.Module, path: Path, images: Tensor) -> None:
    """Write ``model`` in eval mode, from a copy on the CPU; the batch axis of its images (B, C, H, W) is dynamic.

    It is read back and must give the same logits for ``images`` to the bit; raises ``DistilnasError`` where it does
    not, or where torch.export can't follow the network; no file is written then. It can be trained further; its batch
    norms keep their statistics.
    """
    model = copy.deepcopy(model).eval().cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    images, buffer = images.cpu(), io.BytesIO()
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    try:
        example = images[:1].repeat(2, 1, 1, 1)  # torch.export may take a batch axis of 1 for a constant
        torch.export.save(torch.export.export(model, (example,), dynamic_shapes=shapes), buffer)
    except Exception as error:  # torch.export raises almost anything
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DistilnasError(f"torch.export cannot follow this network: {reason}. Set export.program=false.") from error
    buffer.seek(0)
    with torch.no_grad():
        same = torch.equal(torch.export.load(buffer).module()(images), model(images))
    if not same:
        raise DistilnasError(f"the program does not compute what the network does: {path} was not written.")
    write_bytes(path, buffer.getvalue())
