"""An exported student on a model hub, through huggingface_hub."""

from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.utils import HFValidationError, validate_repo_id

from distilnas.errors import DistilnasError, UsageError
from distilnas.export.card import CARD, model_card
from distilnas.export.program import PROGRAM
from distilnas.networks.files import CONFIG, WEIGHTS, read_config

ONNX = "model.onnx"


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What goes to ``repo``: files by name, and the page that is written for them."""

    repo: str
    files: dict[str, Path]
    card: str


def prepare(folder: Path, repo: str) -> Upload:
    """Raises ``UsageError`` for a folder that is no student's and for a name that the hub would refuse."""
    config = read_config(folder / CONFIG)
    files = {name: folder / name for name in (WEIGHTS, CONFIG, ONNX, PROGRAM) if (folder / name).is_file()}
    if WEIGHTS not in files:
        raise UsageError(f"a student's folder holds {WEIGHTS} and {CONFIG}, {folder} has no {WEIGHTS}.")
    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise UsageError(f"a repository is called NAME or OWNER/NAME, got {repo!r}: {error}") from error
    own = folder / CARD
    card = own.read_text(encoding="utf-8") if own.is_file() else model_card(repo.rpartition("/")[2], config, {}, {})
    return Upload(repo=repo, files=files, card=card)


def push(upload: Upload, *, private: bool = False, endpoint: str | None = None) -> str:
    """Make the repository unless it is there, and add all files in one commit; returns its address.

    The token is huggingface_hub's own (``hf auth login``, or HF_TOKEN). Raises ``DistilnasError`` for what the hub
    refuses.
    """
    api = HfApi(endpoint=endpoint)
    operations = [CommitOperationAdd(path_in_repo=CARD, path_or_fileobj=upload.card.encode())]
    operations += [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in upload.files.items()]
    try:
        made = api.create_repo(upload.repo, private=private, exist_ok=True)
        api.create_commit(made.repo_id, operations, commit_message="Add a student of distilnas")
    except Exception as error:  # of the network too: which it raises depends on the version of huggingface_hub
        reason = str(error).splitlines()[0]
        raise DistilnasError(
            f"{upload.repo} could not be uploaded: {reason}. Log in with `hf auth login`, or check name and network."
        ) from error
    return str(made)
