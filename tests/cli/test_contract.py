"""What scripts rely on: verbs, --json, exit codes, numbers of published networks."""

import json
import re
from pathlib import Path

import pytest
from cli_call import Cli

from distilnas.version import __version__

VERBS = (
    "run",
    "distill",
    "search",
    "rate",
    "cost",
    "solve",
    "retrain",
    "evaluate",
    "export",
    "report",
    "profile",
    "bench",
    "doctor",
)
# name: (parameters, multiply-adds), published: timm's results table and torchvision's documentation (4.09 G)
RESNET50 = (25_557_032, 4_089_184_256)


def test_version_and_help(cli: Cli):
    assert cli("--version").out.strip() == __version__
    assert all(verb in cli("-h").out for verb in (*VERBS, "config", "zoo"))


@pytest.mark.parametrize(
    "verb", [(v,) for v in VERBS] + [("config", "ls"), ("config", "show"), ("zoo", "ls"), ("zoo", "show")]
)
def test_every_verb_has_json_and_v(cli: Cli, verb: tuple[str, ...]):
    text = cli(*verb, "-h").out
    assert "--json" in text
    assert "--verbose" in text
    assert bool(re.search(r"--run\b", text)) == (verb[0] not in ("profile", "bench", "doctor", "config"))


def test_config_verbs(cli: Cli, config: Path):
    assert "quickstart" in json.loads(cli("config", "ls", "--json").out)
    shown = json.loads(cli("config", "show", "quickstart", "seed=7", "--json").out)
    assert (shown["seed"], shown["retrain"]["epochs"]) == (7, 30)
    assert json.loads(cli("config", "validate", config, "--json").out) == {"valid": True}
    assert cli("config", "validate", config, "sed=7").code == 2


def test_zoo(cli: Cli):
    assert {"dna-a", "dna-d", "efficientnet-b0"} <= set(json.loads(cli("zoo", "ls", "--json").out))
    entry = json.loads(cli("zoo", "show", "dna-a", "--json").out)
    # DNA, table 2: 4.2 M parameters, 348 M FLOPs, 77.1 % top-1
    assert round(entry["params"] / 1e6, 1) == 4.2
    assert round(entry["paper_flops"] / 1e6) == 348
    assert entry["top1"] == 77.1
    assert {"name", "params", "macs", "paper_flops", "resolution", "num_classes", "top1", "source"} <= entry.keys()


def test_profile(cli: Cli):
    record = json.loads(cli("profile", "resnet50", "--json").out)
    counts = ["macs", "params", "bytes", "peak_memory", "attention_macs", "paper_flops"]
    assert list(record) == ["name", *counts, "resolution", "num_classes"]
    assert (record["params"], record["macs"]) == RESNET50
    answer = cli("profile", "resnet5", "--json")
    assert answer.error["kind"] == "usage"
    assert "did you mean" in answer.error["message"]


def test_doctor(cli: Cli):
    record = json.loads(cli("doctor", "--json").out)
    assert record["distilnas"] == __version__
    assert record["cores"] >= 1
    assert record["packages"]["torch"]


def test_steps_print_one_json_record_and_later_ones_need_only_the_run(cli: Cli, config: Path, tmp_path: Path):
    run = tmp_path / "run"
    rated = json.loads(cli("rate", config, "--run", run, "--json").out)
    assert (rated["num_rated"], rated["skipped"]) == (30, False)
    assert json.loads(cli("rate", "--run", run, "--json").out)["skipped"]

    solved = json.loads(cli("solve", "--run", run, "--max-macs", "40%", "--max-params", "1.2M", "--json").out)
    teacher = json.loads((run / "teacher" / "step.json").read_text())["result"]
    assert solved["budgets"]["macs"]["max"] == int(0.4 * teacher["macs"])
    assert solved["budgets"]["params"]["max"] == 1_200_000
    assert solved["costs"]["macs"] <= solved["budgets"]["macs"]["max"]

    infeasible = cli("solve", "--run", run, "--max-macs", "1k", "--json")
    assert infeasible.error["kind"] == "infeasible"
    assert "smallest reachable macs is" in infeasible.error["message"]
    assert json.loads(cli("solve", "--run", run, "--json").out)["budgets"] == solved["budgets"]

    assert Path(json.loads(cli("report", "--run", run, "--json").out)["report"]).is_file()


def test_run_shows_teacher_and_student(cli: Cli, config: Path, tmp_path: Path):
    answer = cli("run", config, "--run", tmp_path / "run")
    assert answer.code == 0
    assert all(
        word in answer.out for word in ("teacher resnet10t", "student", "MACs (papers: FLOPs)", "proved optimal")
    )
    again = cli("run", config, "--run", tmp_path / "run", "--json")
    assert json.loads(again.out) == json.loads((tmp_path / "run" / "summary.json").read_text())
