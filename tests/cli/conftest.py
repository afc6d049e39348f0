"""The command line called in this process: exit code, stdout and stderr of ``distilnas ARGUMENTS``."""

import sys
from pathlib import Path

import pytest
from cli_call import Answer, Cli
from tiny_run import write_config, write_images

from distilnas.cli.main import main


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["distilnas", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Answer(code=int(ended.value.code or 0), out=captured.out, err=captured.err)

    return call


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("cli-data") / "images")


@pytest.fixture
def config(photos: Path, tmp_path: Path) -> Path:
    return write_config(tmp_path, photos)
