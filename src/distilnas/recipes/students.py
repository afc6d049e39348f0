"""The steps of every run that ends in a trained network: data, retrain, evaluate, export.

A step calls the steps it depends on, which return at once when their artefacts are there, and hands their keys to the
run store as its own inputs; so any step can be asked for at any time, and only what changed is done again.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from distilnas.costing import profile
from distilnas.data import DataSplits
from distilnas.errors import UsageError
from distilnas.export import export_onnx
from distilnas.files import write_bytes
from distilnas.networks import load_student, save_student
from distilnas.networks.files import CONFIG as STUDENT_CONFIG
from distilnas.networks.files import WEIGHTS as STUDENT_WEIGHTS
from distilnas.recipes import inputs as given
from distilnas.recipes.materials import Materials, finish_training
from distilnas.recipes.settings import plain
from distilnas.retrain import retrain
from distilnas.runtime.store import Run, StepRecord
from distilnas.space.darts import AnyArchitecture, DartsArchitecture
from distilnas.training import ClassifierSettings


class StudentRun(ABC):
    """The run ``run``, made from ``materials``; networks are trained as ``training`` says.

    ``auxiliary_weight``: of the auxiliary head's loss in the training of DARTS networks.
    """

    def __init__(
        self, run: Run, materials: Materials, training: ClassifierSettings, *, auxiliary_weight: float = 0.0
    ) -> None:
        self.run, self.training, self.auxiliary_weight = run, training, auxiliary_weight
        self._materials = materials
        self.device, self.progress, self.preprocessing = materials.device, materials.progress, materials.preprocessing

    @property
    @abstractmethod
    def chosen(self) -> AnyArchitecture:
        """The network that the run is for."""

    @property
    def start(self) -> StepRecord | None:
        """The step with a trained network whose weights the chosen one starts from; None: from scratch."""
        return None

    # Steps

    def data(self) -> StepRecord:
        """Read and split the images."""

        def work(folder: Path) -> dict[str, Any]:
            return given.describe_splits(self._materials.splits, self._materials.data)

        inputs = {"data": plain(asdict(self._materials.data)), "rating": self._materials.rating_images}
        return self._step("data", inputs, work)

    def retrain(self, architecture: AnyArchitecture | None = None) -> StepRecord:
        """Train the chosen network on the labels, or any other ``architecture`` in the same way from scratch."""
        found, start = architecture or self.chosen, None if architecture else self.start

        def work(folder: Path) -> dict[str, Any]:
            classes = self.splits.train.classes
            trained = retrain(
                found,
                self.training,
                num_classes=len(classes),
                seed=self._materials.seed,
                name=f"retrain {found.fingerprint[:6]}",
                auxiliary_weight=self.auxiliary_weight,
                start=load_student(start.folder) if start else None,
                **self._materials.training_inputs(folder, self.splits),
            )
            save_student(folder, trained.model, classes=classes, preprocessing=self.preprocessing.to_dict())  # type: ignore[arg-type]
            counts = profile(trained.model, self.preprocessing.resolution)
            return asdict(counts) | {"architecture": str(found)} | finish_training(folder, trained.log)

        keys = {"data": self.data().key, "architecture": str(found), "retrain": plain(asdict(self.training))}
        keys |= {"preprocessing": self.preprocessing.to_dict()} | ({"start": start.key} if start else {})
        keys |= {"auxiliary_weight": self.auxiliary_weight} if isinstance(found, DartsArchitecture) else {}
        return self._step(f"students/{found.fingerprint}/retrain", keys, work, together=True)

    def evaluate(self, architecture: AnyArchitecture | None = None) -> StepRecord:
        """Test a retrained network, read back from its files, on images never used before."""
        retrained = self.retrain(architecture)

        def work(folder: Path) -> dict[str, Any]:
            return self._materials.test(load_student(retrained.folder), self.splits.test)

        name = retrained.name.replace("/retrain", "/evaluate")
        return self._step(name, {"retrain": retrained.key, "data": self.data().key}, work)

    def export(self) -> StepRecord:
        """The folder to hand over: safetensors, description, ONNX checked against PyTorch."""
        retrained = self.retrain()

        def work(folder: Path) -> dict[str, Any]:
            for name in (STUDENT_WEIGHTS, STUDENT_CONFIG):
                write_bytes(folder / name, (retrained.folder / name).read_bytes())
            images, _ = next(iter(self._materials.eval_batches(self.splits.validation)))
            return asdict(export_onnx(load_student(folder), folder / "model.onnx", images[:32]))

        return self._step(retrained.name.replace("/retrain", "/export"), {"retrain": retrained.key}, work)

    # What the steps share

    @cached_property
    def splits(self) -> DataSplits:
        """The images, checked to be those that the run began with."""
        recorded = self.data().result["fingerprint"]
        splits = self._materials.splits
        if given.describe_splits(splits, self._materials.data)["fingerprint"] != recorded:
            raise UsageError(f"the images changed since {self.run.folder} was begun; give another folder with --run.")
        return splits

    def _step(
        self, name: str, inputs: dict[str, Any], work: Callable[[Path], dict[str, Any]], *, together: bool = False
    ) -> StepRecord:
        inputs = json.loads(json.dumps(inputs | {"seed": self._materials.seed}))
        done = self.run.finished(name, inputs)
        if done:
            return done
        self.progress.message(name)
        return self.run.step(name, inputs, lambda folder: json.loads(json.dumps(work(folder))), together=together)
