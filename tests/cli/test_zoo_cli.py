"""``distilnas zoo``: published networks, the networks of runs, checkpoints to students."""

import json
import shutil
from pathlib import Path

import pytest
import timm
import torch
import yaml
from cli_call import Answer, Cli
from tiny_run import CONFIG, write_images

from distilnas.checksums import sealed
from distilnas.cli.zoo_runs import RunNetwork, find_network, read_networks
from distilnas.errors import UsageError
from distilnas.networks import load_student
from distilnas.recipes.catalogue import load_settings
from distilnas.recipes.dna.recipe import run_dna
from distilnas.space import Architecture

# Li et al. 2020 (table 1: 4.2/4.9/5.3/6.4 M, 348/406/466/611 M), to the last digit as counted in the published
# definitions: parameters, multiply-adds of convolutions and linear layers, the authors' counter, top-1.
DNA = {
    "dna-a": (4_243_318, 335_141_728, 348_161_054, 77.1),
    "dna-b": (4_918_180, 392_492_032, 405_784_844, 77.5),
    "dna-c": (5_273_896, 450_138_976, 465_920_048, 77.8),
    "dna-d": (6_409_486, 592_837_792, 611_198_918, 78.4),
}


def refused(answer: Answer, *messages: str) -> None:
    assert answer.code == 2, answer
    assert not answer.out or answer.error
    assert all(message in answer.err for message in messages), answer.err


def test_ls_is_a_table_with_sources_and_names_as_json(cli: Cli):
    names = json.loads(cli("zoo", "ls", "--json").out)
    text = cli("zoo", "ls").out
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert set(names) <= lines.keys()
    assert {f"efficientnet-b{i}" for i in range(8)} <= set(names)
    for name, (params, macs, _, top1) in DNA.items():
        assert all(value in lines[name] for value in (f"{params:,}", f"{macs:,}", f"{top1:.2f} %"))
    # Tan and Le 2019, table 2: B0 5.3 M, 0.39 B FLOPs, 77.1 %; timm's port has 5,288,548 parameters
    assert lines["efficientnet-b0"].split()[1:5] == ["224", "385,814,752", "5,288,548", "77.10"]
    assert "arXiv 1911.13053" in text
    assert "arXiv 1905.11946" in text


@pytest.mark.parametrize("name", list(DNA))
def test_show_published(cli: Cli, name: str):
    record = json.loads(cli("zoo", "show", name.replace("-", "_"), "--json").out)
    assert record["name"] == name
    assert (record["params"], record["macs"], record["paper_flops"], record["top1"]) == DNA[name]
    assert (record["resolution"], record["num_classes"], record["dataset"]) == (224, 1000, "ImageNet")
    assert {"source", "top5"} <= record.keys()
    assert str(Architecture.parse(record["architecture"])) == record["architecture"]


def test_show_for_other_classes_and_resolution(cli: Cli):
    """The classifier has 1281 parameters and 1280 multiply-adds a class. Convolutions scale with the area, squeeze and
    excite and the classifier do not: macs = a x area + b, so three resolutions fix a linear relation.
    """
    full = json.loads(cli("zoo", "show", "dna-a", "--json").out)
    few = json.loads(cli("zoo", "show", "dna-a", "--num-classes", "10", "--json").out)
    assert full["params"] - few["params"] == 990 * 1281
    assert full["macs"] - few["macs"] == 990 * 1280
    double, triple = (json.loads(cli("zoo", "show", "dna-a", "--resolution", r, "--json").out) for r in (448, 672))
    assert (double["resolution"], double["params"]) == (448, full["params"])
    assert 3 * (triple["macs"] - full["macs"]) == 8 * (double["macs"] - full["macs"]) > 0
    assert cli("zoo", "show", "dna-a", "--num-classes", "0").code == 2


def test_unknown_names_and_options(cli: Cli):
    refused(cli("zoo", "show", "dna_e", "--json"), "unknown zoo network 'dna_e'", "did you mean 'dna-")
    refused(cli("zoo", "show", "dna-a", "--variant", "cifar10"), "it has none")
    refused(cli("zoo", "ls", "--front"), "give a run with --run")


# The networks of runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two runs: one finished, with a random network, and one that was only begun."""
    root = tmp_path_factory.mktemp("zoo")
    images = write_images(root / "images")
    config = root / "tiny.yaml"
    config.write_text(yaml.safe_dump({**CONFIG, "data": {**CONFIG["data"], "path": str(images)}}))
    run_dna(load_settings(str(config), ("random.number=1", "random.min_share=0.1")), root / "runs" / "one")
    (root / "runs" / "two").mkdir()
    shutil.copy(root / "runs" / "one" / "run.json", root / "runs" / "two")
    return root / "runs"


def test_ls_of_a_run(cli: Cli, runs: Path):
    solution = json.loads((runs / "one" / "solve" / "solution.json").read_text())
    summary = json.loads((runs / "one" / "summary.json").read_text())
    rows = json.loads(cli("zoo", "ls", "--run", runs / "one", "--json").out)
    assert [row["architecture"] for row in rows].count(solution["solution"]["architecture"]) == 1
    by_text = {row["architecture"]: row for row in rows}
    expected = [solution["solution"], *solution["alternatives"]]
    assert by_text.keys() == {found["architecture"] for found in (*expected, *summary["random"])}
    for found in expected:
        row = by_text[found["architecture"]]
        assert (row["params"], row["macs"]) == (found["costs"]["params"], found["costs"]["macs"])
        assert row["rating"] == pytest.approx(found["rating"])
        assert found.get("kind", "solution") in row["roles"]
    best, drawn = rows[0], by_text[summary["random"][0]["architecture"]]
    assert {"solution", "retrained"} <= set(best["roles"])
    assert (best["name"], best["top1"]) == (summary["student"]["hash"], summary["student"]["top1"])
    assert {"random", "retrained"} <= set(drawn["roles"])
    assert drawn["top1"] == summary["random"][0]["top1"]
    assert drawn["rating"] >= best["rating"]
    assert {(row["resolution"], row["num_classes"], row["run"]) for row in rows} == {(32, 3, str(runs / "one"))}
    text = cli("zoo", "ls", "--run", runs / "one").out
    assert all(row["name"] in text and f"{row['macs']:,}" in text for row in rows)


def test_ls_of_a_folder_of_runs_and_with_fronts(cli: Cli, runs: Path):
    one = json.loads(cli("zoo", "ls", "--run", runs / "one", "--json").out)
    assert json.loads(cli("zoo", "ls", "--run", runs, "--json").out) == one
    assert json.loads(cli("zoo", "ls", "--run", runs / "one", "--run", runs, "--json").out) == one * 2
    front = json.loads((runs / "one" / "solve" / "front.json").read_text())
    rows = json.loads(cli("zoo", "ls", "--run", runs, "--front", "--json").out)
    on_front = {row["architecture"] for row in rows if "front" in row["roles"]}
    assert on_front == {point["architecture"] for points in front.values() for point in points}
    assert len(rows) == len({row["name"] for row in rows})


def test_show_a_network_of_a_run(cli: Cli, runs: Path):
    row = json.loads(cli("zoo", "ls", "--run", runs, "--json").out)[0]
    record = json.loads(cli("zoo", "show", row["name"][:10], "--run", runs, "--json").out)
    shared = ("name", "params", "macs", "rating", "top1", "roles", "resolution", "num_classes", "architecture")
    assert {key: record[key] for key in shared} == {key: row[key] for key in shared}
    assert record["paper_flops"] > record["macs"]
    assert record["source"] == str(runs / "one")
    other = json.loads(cli("zoo", "show", row["name"], "--run", runs, "--num-classes", "5", "--json").out)
    assert other["params"] - record["params"] == 2 * 17  # head width 16 and a bias, two classes more
    assert row["architecture"] in cli("zoo", "show", row["name"], "--run", runs).out
    refused(cli("zoo", "show", "dna-a", "--run", runs), "no architecture of the runs has a hash that begins with")
    refused(cli("zoo", "show", row["name"], "--run", runs, "--variant", "x"), "not both")


def test_a_student_tested_before_it_was_trained_again_has_no_accuracy(runs: Path, tmp_path: Path):
    run = Path(shutil.copytree(runs / "one", tmp_path / "one"))
    best = read_networks([run], fronts=False)[0]
    step = run / "students" / best.name / "retrain" / "step.json"
    record = {**json.loads(step.read_text()), "key": "another"}
    step.write_text(json.dumps(sealed(record, step.parent, record["files"])))
    assert best.top1 is not None
    assert read_networks([run], fronts=False)[0].top1 is None
    step.write_text(json.dumps({"key": "another"}))
    with pytest.raises(UsageError, match=f"{best.name}.* is damaged"):
        read_networks([run], fronts=False)


def test_folders_without_runs(cli: Cli, tmp_path: Path):
    refused(cli("zoo", "ls", "--run", tmp_path), "neither a run nor a folder of runs")
    refused(cli("zoo", "show", "ab", "--run", tmp_path / "none"), "neither a run nor a folder of runs")


def network(name: str, run: str = "one") -> RunNetwork:
    return RunNetwork(
        name=name, run=run, roles=("solution",), costs={"macs": 1, "params": 1}, rating=None, top1=None,
        resolution=32, num_classes=2, architecture="",
    )  # fmt: skip


def test_prefixes_must_be_unique():
    networks = [network("abc1"), network("abd2"), network("e3"), network("e3", "two")]
    assert find_network(networks, "abd") is networks[1]
    for prefix, message in (("ab", "2 hashes begin with 'ab'"), ("e", r"in 2 runs \(one, two\)"), ("f", "valid: abc1")):
        with pytest.raises(UsageError, match=message):
            find_network(networks, prefix)


# Checkpoints to students


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = timm.create_model("dna_a", num_classes=4)
    torch.save({"state_dict": model.state_dict(), "epoch": 1}, tmp_path / "a.pth.tar")
    return tmp_path / "a.pth.tar"


def test_export(cli: Cli, weights: Path, tmp_path: Path):
    out = tmp_path / "student"
    record = json.loads(cli("zoo", "export", "dna-a", "--weights", weights, "--out", out, "--json").out)
    assert (record["name"], record["num_classes"], record["resolution"]) == ("dna-a", 4, 224)
    student = load_student(out)
    state = torch.load(weights, weights_only=True)["state_dict"]
    assert all(torch.equal(value, state[key]) for key, value in student.state_dict().items())
    assert student.student_config["classes"] == ["0", "1", "2", "3"]
    assert student.student_config["preprocessing"]["crop_pct"] == 0.875
    profiled = json.loads(cli("profile", out, "--json").out)
    assert (profiled["params"], profiled["num_classes"]) == (4_243_318 - 996 * 1281, 4)
    refused(cli("zoo", "export", "dna-a", "--weights", weights, "--out", out), "must be a new or empty folder")


def test_export_names_imagenets_classes(cli: Cli, tmp_path: Path):
    torch.save(timm.create_model("dna_a").state_dict(), tmp_path / "a.pth")
    assert cli("zoo", "export", "dna_a", "--weights", tmp_path / "a.pth", "--out", tmp_path / "s").code == 0
    classes = json.loads((tmp_path / "s" / "student.json").read_text())["classes"]
    assert len(set(classes)) == 1000
    assert classes == sorted(classes)
    assert classes[0] == "n01440764"  # tench, class 0 of ILSVRC 2012


def test_export_refuses_and_writes_nothing(cli: Cli, weights: Path, tmp_path: Path):
    out = tmp_path / "student"
    refused(
        cli("zoo", "export", "dna-b", "--weights", weights, "--out", out), "entry by entry", "22 unexpected", "shape"
    )
    refused(cli("zoo", "export", "efficientnet-b0", "--weights", weights, "--out", out), "not a student")
    refused(cli("zoo", "export", "dna-a", "--weights", tmp_path / "no.pth", "--out", out), "check the path")
    assert not out.exists()


def test_rank_takes_the_costs_of_the_run_itself(cli: Cli, runs: Path, tmp_path: Path):
    """The truth has accuracies only; the budget lies between the networks' own MACs."""
    networks = read_networks([runs / "one"], fronts=True)
    rows = [f"{network.architecture},{50 + i}" for i, network in enumerate(networks)]
    (tmp_path / "truth.csv").write_text("\n".join(["architecture,accuracy", *rows]))
    macs = sorted(network.costs["macs"] for network in networks)
    limit = macs[len(macs) // 2]
    answer = cli("rank", "--run", runs / "one", "--truth", tmp_path / "truth.csv", "--budget", limit, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["regret"][0]["num_fitting"] == sum(m <= limit for m in macs)
