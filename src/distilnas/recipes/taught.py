"""The steps of every run with a teacher: the teacher itself, and its test; the student's steps as in ``students``."""

from functools import cached_property
from pathlib import Path
from typing import Any

from distilnas.recipes import inputs as given
from distilnas.recipes.materials import finish_training
from distilnas.recipes.students import StudentRun
from distilnas.recipes.teaching import TeacherMaterials
from distilnas.runtime.store import Run, StepRecord
from distilnas.teachers import TeacherBlocks
from distilnas.training import ClassifierSettings


class TaughtRun(StudentRun):
    """The run ``run``, made from ``materials``."""

    def __init__(
        self, run: Run, materials: TeacherMaterials, training: ClassifierSettings, *, auxiliary_weight: float = 0.0
    ) -> None:
        super().__init__(run, materials, training, auxiliary_weight=auxiliary_weight)
        self._teaching = materials

    # Steps

    def teacher(self) -> StepRecord:
        """Create, load and fit the teacher; propose its blocks."""
        materials = self._teaching

        def work(folder: Path) -> dict[str, Any]:
            model, log = materials.fit_teacher(folder, self.splits)
            given.save_teacher(model, folder)
            result = materials.describe_teacher(model)
            self._show_blocks(result)
            result["val_top1"] = materials.accuracy(model, self.splits.validation)
            return result | finish_training(folder, log)

        own = materials.own.key if materials.own else None
        keys = {"data": self.data().key, "teacher": materials.teacher.to_dict(), "own": own}
        keys |= {"preprocessing": self.preprocessing.to_dict()}
        return self._step("teacher", keys, work, together=True)

    def evaluate_teacher(self) -> StepRecord:
        """Test the teacher on the same images."""

        def work(folder: Path) -> dict[str, Any]:
            return self._teaching.test(self.teacher_blocks.model, self.splits.test)

        return self._step("evaluate-teacher", {"teacher": self.teacher().key, "data": self.data().key}, work)

    # What the steps share

    @cached_property
    def teacher_blocks(self) -> TeacherBlocks:
        """The frozen teacher with this run's weights."""
        record = self.teacher()
        model = self._teaching.empty_teacher(len(self.data().result["classes"]))
        return given.load_teacher(model, record.folder, record.result["partition"])

    def _show_blocks(self, teacher: dict[str, Any]) -> None:
        """The proposed partition, for the user to see and override."""
        self.progress.message(f"blocks of {teacher['name']} (partition: {teacher['partition']['policy']})")
        for row in teacher["blocks"]:
            size = f"{row['channels']} x {row['height']} x {row['width']}"
            self.progress.message(
                f"  {row['block']}  {row['path']:16s} {size:14s} stride {row['stride']}  {row['macs'] / 1e6:.2f} M MACs"
            )
