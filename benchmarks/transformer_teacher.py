"""A small transformer trained from scratch on CIFAR-10, to be made smaller: ``docs/results/transformers.md``.

``python -m benchmarks.transformer_teacher DATA OUT.safetensors [--steps 1200]``: DATA is an image folder with train and
test. A compact convolutional transformer in timm's words (`MODEL`, `ARGUMENTS`): one convolution and a pooling make 64
tokens of 32 pixels, six blocks of width 128. Muon, bfloat16, flips and padded crops, half of the tokens at first;
checkpoints beside OUT.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import save
from timm.layers import PatchDropout, set_fused_attn
from timm.optim import create_optimizer_v2
from torch import Tensor, nn
from torch.nn import functional

from distilnas.data import ImageSet, read_image_data

MODEL = "vit_tiny_r_s16_p8_224"
ARGUMENTS = {
    "img_size": 32,
    "patch_size": 1,
    "embed_dim": 128,
    "depth": 6,
    "num_heads": 4,
    "mlp_ratio": 2.0,
    "class_token": False,
    "global_pool": "avg",
}
RATE, DECAY, SMOOTHING = 3e-3, 0.05, 0.1
BATCH, PADDING = 128, 4
WARM_UP, COOL_DOWN = 0.05, 0.6  # shares of the steps
DROPPED, FEW_TOKENS = 0.5, 0.5  # half of the tokens are left out in the first half of the steps


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1200)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    set_fused_attn(False)  # on a CPU the fused form is slower at 64 tokens
    data = read_image_data(args.data)
    images, labels = pixels(data.train)
    model = timm.create_model(MODEL, num_classes=len(data.train.classes), **ARGUMENTS)
    train(model, images, labels, args.steps, args.out.with_suffix(".pt"))
    held, truth = pixels(data.test)
    weights = save(model.eval().state_dict())
    args.out.write_bytes(weights)
    print(json.dumps({"top1": top1(model, held, truth), "sha256": hashlib.sha256(weights).hexdigest()}), flush=True)


def pixels(images: ImageSet) -> tuple[Tensor, Tensor]:
    """(N, 3, 32, 32) uint8 and (N,) labels."""
    array = np.stack([np.asarray(images.pil(i)) for i in range(len(images))])
    return torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(images.labels.copy())


def scaled(images: Tensor) -> Tensor:
    """As timm's configuration of the model wants them: -1 to 1."""
    return images.float() / 127.5 - 1


def train(model: nn.Module, images: Tensor, labels: Tensor, steps: int, checkpoint: Path) -> None:
    """Continues from ``checkpoint`` where there is one."""
    optimizer = create_optimizer_v2(model, opt="muon", lr=RATE, weight_decay=DECAY)
    start = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
    model.train()
    for step, (some, truth) in enumerate(views(images, labels, start, steps), start=start):
        done = step / steps
        model.patch_drop = PatchDropout(DROPPED, num_prefix_tokens=0) if done < FEW_TOKENS else nn.Identity()
        for group in optimizer.param_groups:
            group["lr"] = RATE * schedule(done)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(some).float()
        loss = functional.cross_entropy(logits, truth, label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 50 == 49:
            right = float((logits.argmax(1) == truth).float().mean())
            print(step + 1, steps, round(float(loss), 3), round(right, 3), round(time.process_time()), flush=True)
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, checkpoint)
    model.patch_drop = nn.Identity()


def schedule(done: float) -> float:
    """Share of the rate after ``done`` (0 to 1) of the steps: up, level, down to nothing."""
    return min(1.0, done / WARM_UP + 1e-3, (1 - done) / COOL_DOWN)


def views(images: Tensor, labels: Tensor, start: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of steps ``start`` to ``steps``, all images equally often; each image cropped, and flipped or not."""
    size, each = images.shape[-1], len(images) // BATCH
    for step in range(start, steps):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(step // each))
        some = order[step % each * BATCH :][:BATCH]
        random = torch.Generator().manual_seed(step)
        batch = functional.pad(images[some], (PADDING,) * 4)
        top, left = torch.randint(2 * PADDING + 1, (2, len(some)), generator=random).tolist()
        flip = torch.rand(len(some), generator=random) < 0.5
        batch = torch.stack([x[:, t : t + size, s : s + size] for x, t, s in zip(batch, top, left, strict=True)])
        batch[flip] = batch[flip].flip(3)
        yield scaled(batch), labels[some]


@torch.no_grad()
def top1(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Percent."""
    right = [model(scaled(x)).argmax(1) == y for x, y in zip(images.split(250), labels.split(250), strict=True)]
    return 100 * float(torch.cat(right).double().mean())


if __name__ == "__main__":
    main()
