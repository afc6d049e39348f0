"""Small teachers and images for the tests of surgery."""

import timm
import torch

from distilnas.surgery.chain import chain_of, ends_of
from distilnas.teachers.units import propose_units

SIZE = 48
SMALL = {  # arguments of transformers
    "vit_tiny_patch16_224": {"img_size": SIZE, "embed_dim": 48, "depth": 2, "num_heads": 3},
    "swin_tiny_patch4_window7_224": {"img_size": SIZE, "embed_dim": 24, "depths": (2, 1), "num_heads": (3, 6)},
    "beit_base_patch16_224": {"img_size": SIZE, "embed_dim": 48, "depth": 2, "num_heads": 3},
}


def teacher(name="mobilenetv2_050", num_classes=5, seed=0, **arguments):
    """A timm network with random weights whose batch norms have seen images, in eval mode."""
    torch.manual_seed(seed)
    model = timm.create_model(name, num_classes=num_classes, **arguments)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.weight.uniform_(0.5, 1.5)
                part.bias.uniform_(-0.3, 0.3)
        for _ in range(20):
            model.train()(images(32, seed=int(torch.randint(1000, ()))))
    return model.eval()


def images(number, seed=0, size=SIZE):
    """Smooth random images (number, 3, size, size)."""
    coarse = torch.randn(number, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic")


def chain(model, size=SIZE):
    return chain_of(model, ends_of(propose_units(model, size)), (3, size, size))


@torch.no_grad()
def with_twins(model):
    """``model`` with every second inner element made a twin of the one before it: half of them can go without loss."""
    for unit in chain(model):
        for group in unit.groups:
            pairs = group.elements // 2
            for part in group.made:
                module = unit.module.get_submodule(part.path)
                first, second = part.index[: 2 * pairs : 2].ravel(), part.index[1 : 2 * pairs : 2].ravel()
                for name in ("weight", "bias", "running_mean", "running_var"):
                    tensor = getattr(module, name, None)
                    if tensor is not None:
                        tensor[second] = tensor[first]
    return model
