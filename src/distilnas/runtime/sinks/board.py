"""Scalars for TensorBoard: ``tensorboard --logdir RUN/log/tensorboard``."""

from collections.abc import Mapping
from pathlib import Path

from torch.utils.tensorboard.writer import SummaryWriter


class Board:
    """A file of events; a run that goes on adds one."""

    def __init__(self, folder: Path) -> None:
        self._writer = SummaryWriter(str(folder))

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """See ``Sink.scalars``."""
        for name, value in values.items():
            self._writer.add_scalar(f"{group}/{name}", value, step)
        self._writer.flush()

    def finish(self, numbers: Mapping[str, float]) -> None:
        """See ``Sink.finish``."""
        self.scalars("summary", numbers, 0)

    def close(self) -> None:
        """See ``Sink.close``."""
        self._writer.close()


open_sink = Board
