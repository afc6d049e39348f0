"""Parents cut into parts by hand, for tests of what is made of them."""

import timm
import torch
from torch import Tensor, nn

from distilnas.networks import ChainNet
from distilnas.networks.layouts import Layout
from distilnas.networks.new_parts import LinearMap
from distilnas.networks.parent import Border, Parent
from distilnas.networks.plan import Skip

RESNET = Parent(
    model="resnet10t",
    model_kwargs={"zero_init_last": False},
    num_classes=3,
    image_shape=(3, 64, 64),
    borders=(
        Border(path="maxpool", channels=64, height=16, width=16),
        Border(path="layer1", channels=64, height=16, width=16),
        Border(path="layer2", channels=128, height=8, width=8),
        Border(path="layer3", channels=256, height=4, width=4),
        Border(path="layer4", channels=512, height=2, width=2),
    ),
)
_TOKENS = Layout(kind="tokens", prefix=1)
VIT = Parent(
    model="vit_tiny_patch16_224",
    model_kwargs={"img_size": 64, "embed_dim": 24, "depth": 4, "num_heads": 2},
    num_classes=3,
    image_shape=(3, 64, 64),
    borders=(
        Border(path="norm_pre", channels=24, height=4, width=4, layout=_TOKENS),
        Border(path="blocks.1", channels=24, height=4, width=4, layout=_TOKENS),
        Border(path="blocks.3", channels=24, height=4, width=4, layout=_TOKENS),
    ),
)


def model_of(parent: Parent) -> nn.Module:
    """The parent with random weights, in eval mode."""
    torch.manual_seed(0)
    assert parent.model is not None
    model = timm.create_model(parent.model, num_classes=parent.num_classes, **parent.model_kwargs)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            nn.init.normal_(buffer, std=0.1)
    return model.eval()


def chain_of(parent: Parent) -> ChainNet:
    """All kept."""
    return ChainNet.kept(parent, model_of(parent))


def cut_resnet() -> ChainNet:
    """Half of the inner channels of layer2, layer1 left out, layer3 a linear map."""
    chain = chain_of(RESNET)
    unit = chain.blocks[2].get_submodule("layer2.0")
    halved(unit)
    chain.blocks[1] = Skip()
    chain.blocks[3] = LinearMap(128, 256, stride=2)
    return chain.eval()


def halved(unit: nn.Module) -> None:
    """A timm ResNet basic block with half of its inner channels, the first ones."""
    conv1, bn1, conv2 = (unit.get_submodule(name) for name in ("conv1", "bn1", "conv2"))
    half = conv1.weight.shape[0] // 2  # type: ignore[union-attr,index,operator]
    conv1.weight = nn.Parameter(conv1.weight[:half].detach().clone())  # type: ignore[index]
    conv1.out_channels = half  # type: ignore[assignment]
    for name in ("weight", "bias"):
        setattr(bn1, name, nn.Parameter(getattr(bn1, name)[:half].detach().clone()))
    for name in ("running_mean", "running_var"):
        setattr(bn1, name, getattr(bn1, name)[:half].clone())
    bn1.num_features = half  # type: ignore[assignment]
    conv2.weight = nn.Parameter(conv2.weight[:, :half].detach().clone())  # type: ignore[index]
    conv2.in_channels = half  # type: ignore[assignment]


def images(batch: int = 2, seed: int = 1, channels: int = 3) -> Tensor:
    return torch.randn(batch, channels, 64, 64, generator=torch.Generator().manual_seed(seed))
