"""Published networks in timm's registry, whichever package is imported first; importing ours alone changes nothing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from distilnas.errors import UsageError
from distilnas.networks.zoo import zoo_entry

DNA = ["dna_a", "dna_b", "dna_c", "dna_d"]
REPORT = """
print(json.dumps({
    "dna": timm.list_models("dna_*"),
    "others": [timm.is_model(name) for name in ("distilnas_student", "distilnas_darts", "darts_v2", "cifar_resnet")],
    "params": sum(p.numel() for p in timm.create_model("dna_a").parameters()),
}))
"""
STATE = """
import builtins, logging, os, signal, threading, warnings
def state():
    return {
        "finders": list(map(repr, sys.meta_path)),
        "hooks": list(map(repr, sys.path_hooks)),
        "path": list(sys.path),
        "warnings": list(map(repr, warnings.filters)),
        "logging": [logging.root.level, logging.root.disabled, list(map(repr, logging.root.handlers))],
        "excepthook": repr(sys.excepthook),
        "import": repr(builtins.__import__),
        "environment": dict(os.environ),
        "signals": [repr(signal.getsignal(s)) for s in signal.valid_signals()],
        "threads": threading.active_count(),
    }
"""


def run(program: str) -> Any:
    """What ``program`` prints last, as JSON."""
    program = f"import json, sys\n{program}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("imports", ["import timm, distilnas.networks", "import distilnas.networks, timm"])
def test_importing_our_networks_is_enough(imports: str):
    """Parameters: those of the published definition, Li et al. 2020 (table 1: 4.2 M)."""
    assert run(imports + REPORT) == {"dna": DNA, "others": [True] * 4, "params": 4_243_318}


@pytest.mark.parametrize("first", ["", "import timm"], ids=["alone", "after timm"])
def test_importing_the_package_changes_nothing_in_the_process(first: str):
    program = f"""
{first}{STATE}
modules, before = set(sys.modules), state()
import distilnas
new = {{name.partition(".")[0] for name in set(sys.modules) - modules}} - sys.stdlib_module_names
print(json.dumps([sorted(new), before == state()]))
"""
    assert run(program) == [["distilnas"], True]


def test_the_library_without_networks_does_not_load_torch():
    program = (
        "import distilnas.space, distilnas.solve, distilnas.tables, distilnas.cli.main\n"
        "print(json.dumps(sorted({'torch', 'timm'} & set(sys.modules))))"
    )
    assert run(program) == []


def test_our_networks_can_be_teachers_without_more_imports():
    program = (
        "from distilnas.teachers import create_teacher\n"
        "print(json.dumps(type(create_teacher('cifar_resnet', num_classes=3)).__name__))"
    )
    assert run(program) == "CifarResNet"


@pytest.mark.parametrize("name", DNA)
def test_entries_are_the_zoos(name: str):
    with torch.device("meta"):
        model: Any = timm.create_model(name)
    assert model.architecture == zoo_entry(name).architecture
    assert model.pretrained_cfg["architecture"] == name
    assert model.pretrained_cfg["input_size"] == (3, 224, 224)


def test_arguments_of_timm():
    model: Any = timm.create_model("dna_a", num_classes=5, in_chans=1, drop_rate=0.5, drop_path_rate=0.2)
    assert model.eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 5)
    assert model.drop_rate == 0.5
    assert model.blocks[5][-1].drop_path.drop_prob > 0.15
    assert timm.create_model("dna_a", num_classes=0).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 1280)


def test_features():
    """Channels where the resolution changes: stem layer 16, then 24 40 96 320 (widths of DNA-a's last stages)."""
    model: Any = timm.create_model("dna_a", features_only=True).eval()
    assert model.feature_info.channels() == [16, 24, 40, 96, 320]
    assert [tuple(m.shape[1:]) for m in model(torch.zeros(1, 3, 64, 64))] == [
        (16, 32, 32), (24, 16, 16), (40, 8, 8), (96, 4, 4), (320, 2, 2)
    ]  # fmt: skip
    last: Any = timm.create_model("dna_a", features_only=True, out_indices=(4,)).eval()
    assert [m.shape[1] for m in last(torch.zeros(1, 3, 32, 32))] == [320]


def test_there_is_nothing_to_download_but_a_file_can_be_named(tmp_path: Path):
    with pytest.raises(UsageError, match=r"dna_b has no weights to download.*load_published"):
        timm.create_model("dna_b", pretrained=True)
    assert timm.list_pretrained("dna_*") == []
    source = timm.create_model("dna_a", num_classes=4)
    torch.save(source.state_dict(), tmp_path / "a.pth")
    overlay = {"file": str(tmp_path / "a.pth"), "num_classes": 4}
    model = timm.create_model("dna_a", pretrained=True, num_classes=4, pretrained_cfg_overlay=overlay)
    assert torch.equal(model.conv_head.weight, source.conv_head.weight)  # type: ignore[union-attr,arg-type]
