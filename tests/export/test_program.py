"""A network as a program of plain PyTorch."""

import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from distilnas.errors import DistilnasError
from distilnas.export import export_program

LOADED = """
import sys, torch
images = torch.load(sys.argv[2], weights_only=True)
model = torch.export.load(sys.argv[1]).module()
with torch.no_grad():
    before = model(images)
torch.save(before, sys.argv[3])
optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
labels = torch.arange(len(images)) % 5
losses = []
for _ in range(5):
    loss = torch.nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(float(loss.detach()))
assert losses[-1] < losses[0], losses
assert not {"distilnas", "timm"} & set(sys.modules)
"""


def test_plain_torch_loads_runs_and_trains_it(tmp_path: Path) -> None:
    """In a process of its own, which imports neither distilnas nor timm; logits equal the network's to the bit."""
    torch.manual_seed(0)
    model = timm.create_model("mobilenetv2_035", num_classes=5).train()
    images = torch.randn(7, 3, 32, 32)
    export_program(model, tmp_path / "model.pt2", images)
    assert model.training
    torch.save(images, tmp_path / "images.pt")
    paths = [str(tmp_path / name) for name in ("model.pt2", "images.pt", "logits.pt")]
    done = subprocess.run([sys.executable, "-c", LOADED, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
    with torch.no_grad():
        assert torch.equal(torch.load(paths[2], weights_only=True), model.eval()(images))


class Random(nn.Module):
    """A network that torch.export follows, and that never gives the same twice."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.rand_like(x.flatten(1))


class Branching(nn.Module):
    """A network that depends on its values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


@pytest.mark.parametrize(
    ("model", "message"), [(Random(), "does not compute what the network does"), (Branching(), "export.program=false")]
)
def test_what_is_no_program_is_not_written(model: nn.Module, message: str, tmp_path: Path) -> None:
    with pytest.raises(DistilnasError, match=message):
        export_program(model, tmp_path / "model.pt2", torch.randn(2, 3, 8, 8))
    assert not (tmp_path / "model.pt2").exists()
