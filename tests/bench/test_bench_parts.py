"""Timing in turns, the report, the networks and problems of the other benchmarks."""

import math

import pytest
import torch

from distilnas.bench import BENCHMARKS, BenchSettings, Report, benchmark
from distilnas.bench.processes import ONE, THREADS, TWO
from distilnas.bench.retrain import KINDS, data, gradients, network
from distilnas.bench.scale import CASE, last_cells
from distilnas.bench.scale import training as scale_training
from distilnas.bench.shrink import QUICK, shrunk
from distilnas.bench.solve import deepened, shortened
from distilnas.bench.timing import counting_runs, interleave, medians, peak_bytes
from distilnas.errors import UsageError
from distilnas.space import preset

CPU = BenchSettings(accelerator="cpu", quick=True)


def test_alternatives_take_turns_and_the_warm_up_does_not_count():
    order: list[str] = []
    times = interleave({name: lambda name=name: order.append(name) for name in "ab"}, turns=3, warmup=2)
    assert order == ["a", "b"] * 5
    assert {name: len(values) for name, values in times.items()} == {"a": 3, "b": 3}


def test_an_alternative_leads_in_its_turn_and_its_last_run_counts(monkeypatch: pytest.MonkeyPatch):
    """A clock that an alternative's run number n moves by n: the runs that count can be read off the times."""
    now, runs, order = [0], {"a": 0, "b": 0}, []
    monkeypatch.setattr("distilnas.bench.timing.time.perf_counter", lambda: now[0])

    def work(name: str) -> None:
        order.append(name)
        now[0] += runs[name]
        runs[name] += 1

    counting = {"turns": 2, "warmup": 1, "lead": 2}
    times = interleave({name: lambda name=name: work(name) for name in "ab"}, **counting)
    assert order == list("aaabbb") * 3
    assert times == {"a": [5, 8], "b": [5, 8]}
    assert list(counting_runs(**counting)) == [5, 8]


def test_the_ratio_is_of_medians():
    times = {"slow": [9.0, 2.0, 4.0], "fast": [0.5, 1.0, 8.0]}
    report = Report(
        name="x", what="", times=times, work=(10, "images"), ours="fast", baseline="slow", floors={"floor": 0.25}
    )
    assert medians(times) == {"slow": 4.0, "fast": 1.0}
    assert report.ratio == 4.0
    record = report.to_dict(CPU.device())
    assert record["images_per_second"] == {"slow": 2.5, "fast": 10.0}
    assert record["floors"] == {"floor": {"seconds": 0.25, "reached": 0.25}}
    assert record["provenance"]["device"] == "cpu"


def test_peak_memory_is_of_tensors_alive_at_a_time():
    """Two megabytes, of which one is freed before a third comes."""

    def work() -> None:
        first, second = torch.ones(1 << 18), torch.ones(1 << 18)
        del first
        second.clone()

    assert peak_bytes(work, CPU.device()) == 2 << 20


def test_both_forms_of_the_retrained_network_have_the_same_gradients():
    """The smoothness of float32 sets the tolerance: ReLUs of few images flip with rounding."""
    model, (images, labels) = network(), data(4)
    exact = gradients(network().double(), images.double(), labels)
    for kind, prepare in KINDS.items():
        net, batch = prepare(model, images, CPU.device())
        assert (gradients(net, batch, labels) - exact).norm() / exact.norm() < 0.05, kind


@pytest.mark.parametrize("share", [1.0, 0.5, 0.25])
def test_a_shrunk_supernet_has_the_share_of_ops(share: float):
    training = shrunk(QUICK, share, "32-true", CPU)
    alive = training.choices.alive
    assert int(alive.sum()) == max(QUICK.rows, round(share * QUICK.num_candidates))
    assert alive.any(dim=1).all()
    assert sum(len(node) for cell in training.net.cells for node in cell.nodes) == int(alive.sum())  # type: ignore[union-attr]


def test_spaces_of_the_solver():
    dna = preset("dna")
    assert max(cell.depth for block in shortened(dna, 3).body for cell in block.cells) == 3
    deep = deepened(dna, 6)
    assert [len(block.cells) - len(old.cells) for block, old in zip(deep.body, dna.body, strict=True)] == [1] * 6
    assert all(block.cells[-1].num_paths == math.prod([6] * 6) == 46_656 for block in deep.body)


def test_two_processes_take_turns_with_one_and_leave_nothing_behind():
    threads = torch.get_num_threads()
    report = benchmark("processes", CPU)
    assert {name: len(times) for name, times in report.times.items()} == {ONE: 1, THREADS: 1, TWO: 1}
    assert not torch.distributed.is_initialized()
    assert torch.get_num_threads() == threads


def test_names_and_settings():
    names = {"distill", "distill-cifar", "rate", "solve", "retrain", "shrink", "library", "scale", "processes"}
    assert set(BENCHMARKS) == names
    with pytest.raises(UsageError, match="unknown benchmark 'distil'; did you mean 'distill'"):
        benchmark("distil", CPU)
    with pytest.raises(UsageError, match="repeats must be at least 1, got 0"):
        BenchSettings(repeats=0)


def test_scale_trains_the_same_layers_in_both_supernets():
    space = preset(CASE.space)
    trained = []
    for training in (scale_training(last_cells(space), CPU), scale_training(space, CPU)):
        training.step((torch.randn(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64)), 0, 0)
        cells = [list(block.cells) for block in training.blocks.values()]
        assert all(weight.grad is None for block in cells for cell in block[:-1] for weight in cell.parameters())
        graded = [name for block in cells for name, weight in block[-1].named_parameters() if weight.grad is not None]
        trained.append(graded)
    assert trained[0] == trained[1]
    assert len(trained[0]) > 0
