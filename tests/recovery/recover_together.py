"""Trials and a recovery as one of the processes that a launcher started; the first saves the student's weights.

recover_together.py FOLDER MICRO_BATCH (0: none)
"""

import sys
from dataclasses import replace
from pathlib import Path

from recovery_samples import SETTINGS, images, lesson, student
from safetensors.torch import save_file

from distilnas.files import write_json
from distilnas.recovery import hold_trials, recover
from distilnas.runtime import ranks


def main(folder: Path, micro_batch: int) -> None:
    ranks.join()
    folder.mkdir(parents=True, exist_ok=True)
    model = student()
    model.head[2].p = 0.0  # type: ignore[index,union-attr]  every process would draw of its own
    settings = replace(SETTINGS, epochs=5, probe=0.5, rates=(1e-3, 30.0), micro_batch=micro_batch or None)
    places = [folder / "trial-0", folder / "trial-1"]
    for place in places:
        place.mkdir(exist_ok=True)
    finalists = [(student(), lesson(place, images=images(34), checkpoint_seconds=None)) for place in places]
    finalists[0][0].body[0].weight.data.zero_()  # type: ignore[index,union-attr]
    with ranks.shared(True):
        trials = hold_trials(finalists, replace(settings, epochs=13))
        found = recover(model, lesson(folder, images=images(34), checkpoint_seconds=None), settings)
    if ranks.leads():
        save_file({name: value.contiguous() for name, value in found.model.state_dict().items()}, folder / "weights")
        tried = {"best": trials.best, "trials": len(trials.ended), "trial_updates": trials.updates}
        log = {"lr": found.lr, "updates": found.updates, "log": found.log.epochs}
        write_json(folder / "found.json", log | tried)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
