"""DARTS networks in training: the auxiliary loss, drop-path that grows, and a network without its auxiliary head."""

import torch
from torch import nn
from torch.nn import functional

from distilnas.data import Preprocessing, synthetic
from distilnas.networks import DartsNet
from distilnas.retrain import retrain
from distilnas.retrain.darts import DartsTask
from distilnas.runtime.device import Device
from distilnas.runtime.progress import SilentProgress
from distilnas.space.darts import DartsArchitecture
from distilnas.training import ClassifierSettings

CELL = "s3-0 | sk-2 | sk-2 | sk-2"
ARCHITECTURE = DartsArchitecture.parse(f"darts cifar 4x3 ; {CELL} ; {CELL} ; {CELL}")
SIDE = 16


def test_loss_is_the_main_one_and_the_weighted_auxiliary_one():
    torch.manual_seed(0)
    model = DartsNet(ARCHITECTURE, num_classes=3, auxiliary=True).eval()
    images, labels = torch.rand(4, 3, SIDE, SIDE), torch.tensor([0, 1, 2, 0])
    main, auxiliary = model.forward_with_auxiliary(images)
    expected = functional.cross_entropy(main, labels) + 0.4 * functional.cross_entropy(auxiliary, labels)
    task = DartsTask(auxiliary_weight=0.4, drop_path_rate=0.0)
    torch.testing.assert_close(task.loss(model, images, labels, functional.cross_entropy), expected)
    plain = DartsTask(auxiliary_weight=0.0, drop_path_rate=0.0)
    torch.testing.assert_close(
        plain.loss(model, images, labels, functional.cross_entropy), functional.cross_entropy(main, labels)
    )


def test_drop_path_grows_linearly_over_the_epochs(tmp_path, monkeypatch):
    """p = p_max x epoch / epochs, as in the released code of DARTS."""
    seen = []
    prepare = DartsTask.prepare

    def spy(task: DartsTask, model: nn.Module, progress: float) -> None:
        prepare(task, model, progress)
        seen.append(model.drop_path_rate)

    monkeypatch.setattr(DartsTask, "prepare", spy)
    _trained(tmp_path, epochs=4, drop_path_rate=0.2)
    assert seen == [0.0, 0.0, 0.05, 0.05, 0.1, 0.1, 0.2 * 0.75, 0.2 * 0.75]  # two updates an epoch


def test_the_trained_network_has_no_auxiliary_head(tmp_path):
    trained = _trained(tmp_path, epochs=1, drop_path_rate=0.0)
    assert list(trained.state_dict()) == list(DartsNet(ARCHITECTURE, num_classes=3).state_dict())


def _trained(folder, **settings) -> nn.Module:
    images = synthetic(images=16, classes=3, resolution=SIDE, seed=0)
    return retrain(
        ARCHITECTURE,
        ClassifierSettings(batch_size=8, **settings),
        num_classes=3,
        seed=0,
        auxiliary_weight=0.4,
        name="retrain",
        images=images,
        validation=images,
        preprocessing=Preprocessing(resolution=SIDE),
        device=Device("cpu"),
        checkpoint=folder / "checkpoint.safetensors",
        progress=SilentProgress(),
    ).model
