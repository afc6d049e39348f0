"""``distilnas rank``: sources of scores, the record, and bad input."""

import csv
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_call import Answer, Cli

from distilnas.space import preset
from distilnas.space.regroup import split_blocks

MACRO = preset("nas-bench-macro")
PUBLISHED = Path(__file__).parents[2].parent / "shared" / "data" / "nas-bench-macro_cifar10.json"
NAMES = [f"{a}{b}0120{c}0" for a in range(3) for b in range(3) for c in range(3)]
TRUTH = {name: 80 + sum(map(int, name)) + int(name[0]) / 10 for name in NAMES}
COSTS = {name: 10_000_000 * (1 + int(name[1])) for name in NAMES}


def write_csv(path: Path, header: str, rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "truth.csv", "architecture,accuracy", [[n, t] for n, t in TRUTH.items()])


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    """Sum of digits, which ties with the truth's tenths; rows in another order."""
    rows = [[name, sum(map(int, name))] for name in NAMES]
    random.Random(0).shuffle(rows)
    return write_csv(tmp_path / "scores.csv", "architecture,score", rows)


def write_ratings(path: Path, first: int = 1, keep: int | None = None) -> Path:
    """Minus the sum of the path's digits: summed over blocks, minus the sum of a name's digits."""
    rows = []
    for b, block in enumerate(MACRO.body):
        for index in range(block.num_candidates):
            path_digits = [index // 3**i % 3 for i in reversed(range(block.cells[0].depth))]
            rows.append([b + first, first, "-".join(map(str, path_digits)), -sum(path_digits)])
    return write_csv(path, "block,cell,path,rating", rows[:keep])


def record(answer: Answer) -> dict:
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_record_of_scores(cli: Cli, scores: Path, truth: Path):
    found = record(cli("rank", "--scores", scores, "--truth", truth, "--json"))
    # of 351 pairs 57 have tied scores (1 3 6 7 6 3 1 networks of each sum), 15 of these tied truths (first digits
    # and sums of the others alike: 1 2 3 2 1 networks, three times); all other pairs agree
    assert found["n"] == 27
    assert found["kendall_tau"] == pytest.approx((351 - 57) / ((351 - 57) * (351 - 15)) ** 0.5)
    assert 0.9 < found["intervals"]["kendall_tau"][0] < found["kendall_tau"] < found["intervals"]["kendall_tau"][1]
    assert found["pearson_r"] == pytest.approx(
        np.corrcoef([sum(map(int, n)) for n in TRUTH], list(TRUTH.values()))[0, 1]
    )
    assert [top["k"] for top in found["top"]] == [1, 3, 10]
    assert found["regret"] == [
        {
            "cost": None,
            "max": None,
            "num_fitting": 27,
            "picked": "22012020",
            "num_tied": 1,
            "accuracy": TRUTH["22012020"],
            "best": "22012020",
            "best_accuracy": TRUTH["22012020"],
            "regret": 0.0,
            "percentile": 100.0,
            "median": sorted(TRUTH.values())[13],
        }
    ]
    assert found == record(cli("rank", "--scores", scores, "--truth", truth, "--json"))


def test_lower_is_better_turns_the_sign(cli: Cli, scores: Path, truth: Path):
    found = record(cli("rank", "--scores", scores, "--truth", truth, "--json"))
    turned = record(cli("rank", "--scores", scores, "--truth", truth, "--json", "--lower-is-better"))
    for key in ("kendall_tau", "spearman_rho", "pearson_r"):
        assert turned[key] == pytest.approx(-found[key])
    assert turned["regret"][0]["picked"] == "00012000"


@pytest.mark.parametrize("first", [0, 1])
def test_rating_tables_are_summed_through_the_space(cli: Cli, scores: Path, truth: Path, tmp_path: Path, first: int):
    expected = record(cli("rank", "--scores", scores, "--truth", truth, "--json"))
    table = write_ratings(tmp_path / "ratings.csv", first)
    found = record(cli("rank", "--ratings", table, "--space", "nas-bench-macro", "--truth", truth, "--json"))
    assert found["lower_is_better"]
    assert found["kendall_tau"] == expected["kendall_tau"]
    assert found["regret"] == expected["regret"]


def test_a_space_from_a_file_and_architecture_text_as_names(cli: Cli, scores: Path, tmp_path: Path):
    from distilnas.ranking import NetworkNames

    (tmp_path / "space.json").write_text(json.dumps(MACRO.to_dict()))
    names = NetworkNames(MACRO)
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({str(MACRO.architecture(names.choice(n))): t for n, t in TRUTH.items()}))
    assert cli("rank", "--scores", scores, "--truth", truth).code == 2, "the names differ"
    found = record(cli("rank", "--scores", scores, "--truth", truth, "--space", tmp_path / "space.json", "--json"))
    assert found["n"] == 27


def test_a_runs_ratings_in_its_space(cli: Cli, truth: Path, tmp_path: Path):
    from distilnas.tables.csv import read_ratings_csv

    run = tmp_path / "run"
    (run / "space").mkdir(parents=True)
    (run / "space" / "space.json").write_text(json.dumps(MACRO.to_dict()))
    read_ratings_csv(write_ratings(tmp_path / "ratings.csv"), MACRO).save(run / "rate" / "ratings.npz")
    found = record(cli("rank", "--run", run, "--truth", truth, "--json"))
    assert found["kendall_tau"] > 0.9


def test_costs_of_the_truth_file_or_their_own(cli: Cli, scores: Path, truth: Path, tmp_path: Path):
    costs = write_csv(tmp_path / "costs.csv", "architecture,macs", [[n, c] for n, c in COSTS.items()] + [["x", 1]])
    both = tmp_path / "both.json"
    both.write_text(json.dumps({n: {"mean_acc": t, "flops": COSTS[n], "test_acc": [t]} for n, t in TRUTH.items()}))
    budgets = ("--budget", "10M", "--budget", "macs=20M", "--json")
    found = record(cli("rank", "--scores", scores, "--truth", truth, "--costs", costs, *budgets))
    beside = record(cli("rank", "--scores", scores, "--truth", both, *budgets))
    assert [row["picked"] for row in found["regret"]] == ["20012020", "21012020", "22012020"]
    assert [row["num_fitting"] for row in found["regret"]] == [9, 18, 27]
    assert (beside["regret"], beside["field"]) == (found["regret"], "mean_acc")


def test_table_and_plot(cli: Cli, scores: Path, truth: Path, tmp_path: Path):
    answer = cli("rank", "--scores", scores, "--truth", truth, "--plot", tmp_path / "plot.html")
    assert answer.code == 0
    assert all(words in answer.out for words in ("27 networks", "Kendall tau", "95% interval", "regret"))
    assert (tmp_path / "plot.html").stat().st_size > 1_000_000


def test_common_networks(cli: Cli, scores: Path, truth: Path, tmp_path: Path):
    part = tmp_path / "part.json"
    part.write_text(json.dumps({name: TRUTH[name] for name in NAMES[:20]} | {"other": 1.0}))
    answer = cli("rank", "--scores", scores, "--truth", part, "--json")
    assert answer.error["kind"] == "usage"
    assert "7 (" in answer.err
    assert "--common" in answer.err
    assert record(cli("rank", "--scores", scores, "--truth", part, "--common", "--json"))["n"] == 20


def fails(answer: Answer, *messages: str, code: int = 2) -> None:
    assert answer.code == code, answer.err
    assert not answer.out or answer.error
    assert "Traceback" not in answer.err
    assert all(message in answer.err for message in messages), answer.err


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("architecture,scor", [["a", 1], ["b", 2], ["c", 3]], "did you mean 'scor'"),
        ("arch,score", [["a", 1]], "one of them 'architecture'"),
        ("architecture,score", [["a", 1], ["a", 2]], "names 'a' again"),
        ("architecture,score", [["a", 1], ["b", "nan"], ["c", 2]], "finite number, got 'nan'"),
        ("architecture,score", [["a", 1], ["b", "high"], ["c", 2]], "finite number, got 'high'"),
        ("architecture,score", [["a", 1], ["b", 1], ["c", 1]], "tau is not defined"),
        ("architecture,score", [["a", 1], ["b", 2]], "at least 3 networks"),
    ],
)
def test_bad_scores(cli: Cli, tmp_path: Path, header: str, rows: list[list[object]], message: str):
    scores = write_csv(tmp_path / "scores.csv", header, rows)
    truth = write_csv(tmp_path / "truth.csv", "architecture,accuracy", [[row[0], i] for i, row in enumerate(rows)])
    if "again" in message:
        truth = write_csv(tmp_path / "truth.csv", "architecture,accuracy", [["a", 1]])
    fails(cli("rank", "--scores", scores, "--truth", truth, "--json"), message)


def test_bad_options(cli: Cli, scores: Path, truth: Path, tmp_path: Path):
    given = ("rank", "--truth", truth, "--json")
    table = write_ratings(tmp_path / "ratings.csv")
    fails(cli(*given), "exactly one source of scores", "got none")
    fails(cli(*given, "--scores", scores, "--run", tmp_path), "got --scores and --run")
    fails(cli(*given, "--ratings", table), "--ratings needs --space")
    fails(cli(*given, "--scores", scores, "--digits", "nas-bench-macro"), "--digits needs --space")
    fails(cli(*given, "--run", tmp_path, "--space", "dna"), "leave --space out")
    fails(cli(*given, "--run", tmp_path / "none"), "there is no run folder")
    fails(cli(*given, "--run", tmp_path), "has no ratings (rate/ratings.npz)")
    (tmp_path / "seed-0" / "ratings" / "cosine").mkdir(parents=True)
    (tmp_path / "seed-0" / "ratings" / "cosine" / "ratings.npz").touch()
    folder = tmp_path / "seed-0"
    advice = f"--ratings {folder}/ratings/cosine/ratings.npz --space {folder}/space/space.json"
    fails(cli(*given, "--run", tmp_path), "of several rating tables", advice)
    fails(cli(*given, "--run", folder), "of several rating tables", advice)
    (tmp_path / "round-1" / "rate").mkdir(parents=True)
    (tmp_path / "round-1" / "rate" / "ratings.npz").touch()
    fails(cli(*given, "--run", tmp_path), "of several rounds", f"--run {tmp_path / 'round-1'}")
    fails(cli(*given, "--ratings", table, "--space", "nas-bench-micro"), "did you mean 'nas-bench-macro'")
    fails(cli(*given, "--scores", tmp_path / "none.csv"), "cannot read", "none.csv")
    fails(cli(*given, "--scores", scores, "--field", "top1"), "needs a column 'top1'")
    fails(cli(*given, "--scores", scores, "--budget", "lots"), "not an amount")
    fails(cli(*given, "--scores", scores, "--budget", "40M"), "a budget of macs needs", "--costs FILE")
    costs = write_csv(tmp_path / "costs.csv", "architecture,macs", [[n, c] for n, c in COSTS.items()])
    fails(cli(*given, "--scores", scores, "--costs", costs, "--budget", "1M"), "smallest of the 27", code=3)


def test_tables_and_names_of_another_space(cli: Cli, truth: Path, tmp_path: Path):
    given = ("rank", "--truth", truth, "--space", "nas-bench-macro", "--json")
    fails(cli(*given, "--ratings", write_ratings(tmp_path / "part.csv", keep=60)), "3 of 27 paths of block 3, cell 1")
    small = replace(MACRO, name="s", blocks=(*MACRO.body[:2], MACRO.blocks[-1]))
    (tmp_path / "small.json").write_text(json.dumps(small.to_dict()))
    given = ("rank", "--truth", truth, "--space", tmp_path / "small.json", "--json")
    fails(cli(*given, "--baseline", "depth"), "5 digits are needed")


@pytest.mark.parametrize(
    ("baseline", "tau", "regret"), [("depth", 0.693, 0.50), ("params", 0.218, None), ("macs", 0.556, 0.50)]
)
def test_baselines_of_nas_bench_macro(cli: Cli, baseline: str, tau: float, regret: float | None):
    """All 6,561 published networks (Su et al., CVPR 2021); taus as scipy gives them for the table's own columns."""
    if not PUBLISHED.exists():
        pytest.skip(f"the published table is not beside the checkout ({PUBLISHED.parent.name}/{PUBLISHED.name})")
    given = ("--space", "nas-bench-macro", "--truth", PUBLISHED, "--budget", "40M", "--json")
    found = record(cli("rank", "--baseline", baseline, *given))
    assert (found["n"], round(found["kendall_tau"], 3)) == (6561, tau)
    assert (round(found["regret"][0]["best_accuracy"], 2), found["regret"][0]["best"]) == (91.51, "11110200")
    assert regret is None or round(found["regret"][0]["regret"], 2) == regret


def test_solve_takes_a_table_made_elsewhere(cli: Cli, tmp_path: Path):
    """The written ratings fall with the op's index, so without a budget every layer takes the last op."""
    table = write_ratings(tmp_path / "table.csv")
    given = ("solve", "--ratings", table, "--space", "nas-bench-macro", "--resolution", 32, "--num-classes", 10)
    free = record(cli(*given, "--json"))["solution"]
    assert free["optimal"]
    limited = record(cli(*given, "--max-macs", "40M", "--json"))["solution"]
    assert limited["costs"]["macs"] <= 40_000_000 < free["costs"]["macs"]
    assert limited["rating"] >= free["rating"]
    fails(cli(*given, "--max-macs", "50%"), "nothing here that it could be a share of")
    fails(cli("solve", "--ratings", table), "--ratings and --space belong together")


WEIGHTS = (2.0, 0.5, 1.0)
BLOCKS = [slice(0, 2), slice(2, 5), slice(5, 8)]
WEIGHED = {n: 90 + sum(w * sum(map(int, n[b])) for w, b in zip(WEIGHTS, BLOCKS, strict=True)) for n in NAMES}


@pytest.fixture
def weighed(tmp_path: Path) -> Path:
    """A truth that is 90 minus the ratings of ``write_ratings``, weighted block by block."""
    return write_csv(tmp_path / "weighed.csv", "architecture,accuracy", [[n, t] for n, t in WEIGHED.items()])


def test_fitted_weights_are_judged_on_other_networks_and_solved_with(cli: Cli, weighed: Path, tmp_path: Path):
    """Block 2 never varies, so of its ratings the drawn networks say nothing: its weight is free."""
    table, out = write_ratings(tmp_path / "ratings.csv"), tmp_path / "fitted.npz"
    given = ("rank", "--ratings", table, "--space", "nas-bench-macro", "--truth", weighed, "--json")
    plain = record(cli(*given))
    found = record(cli(*given, "--fit", 12, "--out", out))
    assert (plain["n"], found["n"], found["fit"]["sum"]["n"]) == (27, 15, 15)
    assert len(set(found["fit"]["trained"]) & set(NAMES)) == 12
    assert found["regret"][0]["best"] not in found["fit"]["trained"]
    assert found["kendall_tau"] == pytest.approx(1)
    assert found["fit"]["sum"]["kendall_tau"] < 0.9
    assert found["fit"]["weights"][::2] == pytest.approx(WEIGHTS[::2])
    assert record(cli(*given, "--fit", 12, "--seed", 1))["fit"]["trained"] != found["fit"]["trained"]

    sizes = ("--space", "nas-bench-macro", "--resolution", 32, "--num-classes", 10, "--json")
    solved = record(cli("solve", "--ratings", out, *sizes))["solution"]
    assert solved["rating"] == pytest.approx(
        -sum(2 * d * w for d, w in zip((2, 3, 3), found["fit"]["weights"], strict=True))
    )


def test_fit_to_the_networks_of_a_file(cli: Cli, weighed: Path, tmp_path: Path):
    """Their accuracies may be shares of 1, and their names architectures; they are left out under any name."""
    from distilnas.ranking import NetworkNames

    names = NetworkNames(MACRO)
    rows = [[str(MACRO.architecture(names.choice(n))), WEIGHED[n] / 100] for n in NAMES[::3]]
    trained = write_csv(tmp_path / "trained.csv", "architecture,accuracy", rows)
    table, out = write_ratings(tmp_path / "ratings.csv"), tmp_path / "fitted.csv"
    given = ("rank", "--ratings", table, "--space", "nas-bench-macro", "--truth", weighed)
    found = record(cli(*given, "--fit", trained, "--out", out, "--json"))
    assert (found["n"], found["fit"]["trained"]) == (18, NAMES[::3])
    again = record(cli(*given[:1], "--ratings", out, *given[3:], "--json"))
    assert again["n"] == 27, "a fitted table is a table like any other"
    shown = cli(*given, "--fit", trained)
    assert "fits 9 networks" in shown.out
    assert "18 networks" in shown.out


def test_ratings_in_finer_blocks_are_added_and_solved_with(cli: Cli, truth: Path, tmp_path: Path):
    """The coarse table knows the sum of digits, the finer one the tenths of the first: together they are the truth."""
    layers, finer, out = tmp_path / "layers.json", tmp_path / "finer.csv", tmp_path / "both.npz"
    layers.write_text(json.dumps(split_blocks(MACRO, [1] * 8).to_dict()))
    rows = [[b, 1, op, -op / 10 if b == 1 else 0] for b in range(1, 9) for op in range(3)]
    write_csv(finer, "block,cell,path,rating", rows)
    table = write_ratings(tmp_path / "ratings.csv")
    given = ("rank", "--ratings", table, "--space", "nas-bench-macro", "--truth", truth, "--json")
    assert record(cli(*given))["kendall_tau"] < 1
    found = record(cli(*given, "--finer", finer, "--finer-space", layers, "--out", out))
    assert (found["n"], found["kendall_tau"]) == (27, pytest.approx(1))

    sizes = ("--space", "nas-bench-macro", "--resolution", 32, "--num-classes", 10, "--json")
    assert record(cli("solve", "--ratings", out, *sizes))["solution"]["rating"] == pytest.approx(-16.2)
    fails(cli(*given, "--finer", finer), "--finer-space SPACE belong together")
    fails(cli(*given, "--finer", finer, "--finer-space", "nas-bench-macro"), "finer.csv")
    fails(cli("rank", "--truth", truth, "--scores", truth, "--finer", finer, "--finer-space", layers), "not --scores")


def test_bad_fits(cli: Cli, scores: Path, truth: Path, tmp_path: Path):
    table = write_ratings(tmp_path / "ratings.csv")
    given = ("rank", "--truth", truth, "--ratings", table, "--space", "nas-bench-macro", "--json")
    out = tmp_path / "out.csv"
    fails(cli("rank", "--truth", truth, "--scores", scores, "--fit", 9), "--ratings or --run, not --scores")
    fails(cli(*given, "--out", out), "--fit or --finer has changed")
    fails(cli(*given, "--fit", 2, "--out", out), "at least 3 trained networks, got 2")
    fails(cli(*given, "--fit", -3, "--out", out), "at least 3 trained networks, got -3")
    fails(cli(*given, "--fit", "", "--out", out), "cannot read .")
    fails(cli(*given, "--fit", 9, "--out", out, "--plot", table / "plot.html"), "plot.html")
    fails(cli(*given, "--fit", 25, "--out", out), "of the 27 in", "only 2 would be left")
    fails(cli(*given, "--fit", truth, "--out", out), "only 0 would be left")
    fails(cli(*given, "--fit", tmp_path / "none.csv", "--out", out), "cannot read", "none.csv")
    strange = write_csv(tmp_path / "strange.csv", "architecture,accuracy", [["99999999", 1], ["x", 2], ["y", 3]])
    fails(cli(*given, "--fit", strange, "--out", out), "is no network of space 'nas-bench-macro'")
    nameless = write_csv(tmp_path / "nameless.csv", "architecture,acc", [[n, 1] for n in NAMES[:9]])
    fails(cli(*given, "--fit", nameless, "--out", out), "nameless.csv needs a column 'accuracy' or 'mean_acc'")
    rising = write_csv(tmp_path / "rising.csv", "architecture,accuracy", [[n, -t] for n, t in TRUTH.items()])
    fails(cli(*given[:2], rising, *given[3:], "--fit", 9, "--out", out), "accuracy must fall")
    assert not out.exists()
