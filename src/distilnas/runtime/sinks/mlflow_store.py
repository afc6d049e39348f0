"""Metrics in a store of files: ``mlflow ui --backend-store-uri RUN/log/mlflow``."""

import importlib
import os
from collections.abc import Mapping
from pathlib import Path

from distilnas.files import write_text

_EXPERIMENT = "distilnas"


class Store:
    """One run of the store, whose number is kept beside it."""

    def __init__(self, folder: Path) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # newer versions want a database unless it is set
        client = importlib.import_module("mlflow.tracking").MlflowClient
        self._client = client(tracking_uri=(folder / "store").resolve().as_uri())
        number = folder / "run"
        if not number.exists():
            known = self._client.get_experiment_by_name(_EXPERIMENT)
            experiment = known.experiment_id if known else self._client.create_experiment(_EXPERIMENT)
            name = folder.resolve().parents[1].name
            write_text(number, self._client.create_run(experiment, run_name=name).info.run_id)
        self._run = number.read_text()

    def scalars(self, group: str, values: Mapping[str, float], step: int) -> None:
        """See ``Sink.scalars``."""
        for name, value in values.items():
            self._client.log_metric(self._run, f"{group}/{name}", value, step=step)

    def finish(self, numbers: Mapping[str, float]) -> None:
        """See ``Sink.finish``."""
        self.scalars("summary", numbers, 0)
        self._client.set_terminated(self._run)

    def close(self) -> None:
        """All is written already."""


open_sink = Store
