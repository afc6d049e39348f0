"""Whole runs killed at every rename and at random moments, and on a disk that fills up, end with the same bytes.

Expected: the files of a run of the same command that nothing stopped. The clock of the runs stands still, so nothing is
left out of the comparison but the lock.
"""

import os
import random
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from faulty import Command, commands, contents, leftovers

RECIPES = tuple(os.environ.get("KILL_RECIPES", "dna,dnad,shrink").split(","))
RANDOM = int(os.environ.get("KILLS", "170"))  # of each recipe


@pytest.fixture(scope="module")
def command(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    with commands(tmp_path_factory.mktemp("kill"), request.param) as found:
        yield found[request.param]


@pytest.fixture(scope="module")
def whole(command: Command) -> dict[str, bytes]:
    return command.whole()


each_recipe = pytest.mark.parametrize("command", RECIPES, indirect=True)
shortly = pytest.mark.parametrize("command", ["dna"], indirect=True)


def check_renames(command: Command, whole: dict[str, bytes], fault: str, numbers: Iterator[int]) -> int:
    """Kill at the rename of each number as long as there is one, and go on; returns how often."""
    wrong, kills = {}, 0
    for number in numbers:
        command.anew()
        if command(**{fault: number}).code == 0:
            break
        kills += 1
        if found := command.same(whole):
            wrong[number] = found
    assert not wrong, (kills, wrong)
    return kills


def check_random(command: Command, whole: dict[str, bytes], number: int) -> None:
    """Each run is killed once or twice, at moments drawn evenly over the time of one that nothing stops."""
    command.anew()
    seconds, draw, wrong = command().seconds, random.Random(0), {}
    for n in range(number):
        command.anew()
        moments = [draw.uniform(0, seconds) for _ in range(1 + n % 2)]
        for moment in moments:
            command(kill_seconds=moment)
        if found := command.same(whole):
            wrong[str(moments)] = found
    assert not wrong, wrong


def check_full(command: Command, whole: dict[str, bytes], numbers: Iterator[int]) -> int:
    """The disk is full at the write of each number as long as there is one: one line, nothing half-written, go on."""
    wrong, faults = {}, 0
    for number in numbers:
        command.anew()
        ended = command(full_at=number)
        if ended.code == 0:
            break
        faults += 1
        told = ended.said[ended.said.find("error:") :]
        found = [] if ended.code == 2 and told.count("\n") == 1 and "no space left" in told else [ended.said[-400:]]
        found += leftovers(command.run) + command.same(whole)
        if found:
            wrong[number] = found
    assert not wrong, (faults, wrong)
    return faults


@pytest.mark.kill
@each_recipe
@pytest.mark.parametrize("fault", ["kill_before", "kill_after"])
def test_every_rename(command: Command, whole: dict[str, bytes], fault: str):
    assert check_renames(command, whole, fault, count(1))


@pytest.mark.kill
@each_recipe
def test_random_moments(command: Command, whole: dict[str, bytes]):
    check_random(command, whole, RANDOM)


@pytest.mark.kill
@each_recipe
def test_a_full_disk_at_every_write(command: Command, whole: dict[str, bytes]):
    assert check_full(command, whole, count(1))


@shortly
def test_some_of_each(command: Command, whole: dict[str, bytes]):
    check_renames(command, whole, "kill_before", iter([61]))
    check_full(command, whole, iter([20]))


@shortly
def test_a_moved_run_still_works(command: Command, whole: dict[str, bytes], tmp_path: Path):
    assert whole
    moved = Path(shutil.copytree(command.run, tmp_path / "elsewhere"))
    for words in (("report",), ("check",), ("solve", "--max-macs", "90%")):
        verb, *options = words
        where = (str(moved),) if verb == "check" else ("--run", str(moved))
        ended = command(verb, *where, *options)
        assert ended.code == 0, ended.said
    assert str(moved / "solve") in ended.said


@shortly
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(command: Command, tmp_path: Path):
    tmp_path.chmod(0o500)
    ended = command("run", str(command.config), "--run", str(tmp_path / "run"))
    assert ended.code == 2
    assert ended.said.count("\n") == 1
    assert not contents(tmp_path)
