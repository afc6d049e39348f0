"""``bench shrink``: a step of the DARTS supernet as its ops are deleted, against the step with all ops alive."""

import torch

from distilnas.bench.by_hand import loop_by_hand
from distilnas.bench.report import Report
from distilnas.bench.settings import BenchSettings
from distilnas.bench.timing import interleave
from distilnas.costing.counters import count
from distilnas.methods.dnad import ShrinkSettings, build_supernet
from distilnas.methods.dnad.choices import Choices
from distilnas.methods.dnad.recorder import Recorder, Weighted
from distilnas.methods.dnad.shrink import ShrinkTraining
from distilnas.runtime.device import PRECISIONS
from distilnas.runtime.seeds import torch_seed
from distilnas.space.darts.space import DartsSpace

SHARES = (1.0, 0.5, 0.25)
SIZE, CLASSES = 32, 10
SPACE, QUICK = DartsSpace(), DartsSpace(width=4, num_cells=3)


def run(name: str, settings: BenchSettings) -> Report:
    """Steps that train weights and architecture at 100, 50 and 25 % of the ops, in both precisions, in turns."""
    images = settings.images(cpu=16, cuda=128, quick=4)
    space = QUICK if settings.quick else SPACE
    with torch_seed(1):
        batch = torch.randn(images, 3, SIZE, SIZE), torch.randint(CLASSES, (images,))
    trainings = {(s, p): shrunk(space, s, p, settings) for s in SHARES for p in PRECISIONS}
    steps = {f"{s:.0%} {p}": lambda t=t: t.step(batch, 0, 0) for (s, p), t in trainings.items()}
    times = interleave(steps, turns=settings.turns, lead=settings.lead)
    macs = {f"{s:.0%}": count(trainings[s, PRECISIONS[0]].net, (3, SIZE, SIZE)).macs for s in SHARES}
    return Report(
        name=name,
        what=f"a step of a DARTS supernet of {space.num_candidates} ops, width {space.width}, {space.num_cells} cells, "
        f"batch {images}, {SIZE} px, with {', '.join(f'{s:.0%}' for s in SHARES)} of the ops alive",
        times=times,
        work=(images, "images"),
        ours=f"{SHARES[-1]:.0%} {PRECISIONS[0]}",
        baseline=f"{SHARES[0]:.0%} {PRECISIONS[0]}",
        facts={"batch": images, "macs_per_image": macs},
    )


def shrunk(space: DartsSpace, share: float, precision: str, settings: BenchSettings) -> ShrinkTraining:
    """A search in its warm-up, so that steps delete nothing, of which ``share`` of all ops are left, drawn at random.

    Every node keeps at least one.
    """
    supernet = build_supernet(space, num_classes=CLASSES, seed=0)
    choices = Choices(space)
    generator = torch.Generator().manual_seed(0)
    luck = torch.rand(choices.exists.shape, generator=generator).masked_fill(~choices.exists, -1)
    luck.scatter_(1, luck.argmax(1, keepdim=True), 2)  # each node's luckiest stays
    kept = luck.flatten().topk(max(space.rows, round(share * space.num_candidates))).indices
    choices.alive.flatten().fill_(False)[kept] = True
    supernet.remove(choices.deleted())
    search = ShrinkSettings(epochs=1, warmup_epochs=1)
    recorder = Recorder(Weighted(supernet, choices), search, SIZE, None, settings.device(precision))
    return ShrinkTraining(recorder, None, search, loop_by_hand())
