"""Published networks in timm's registry, whichever package is imported first; the import hook's manners."""

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
import json
print(json.dumps({
    "dna": timm.list_models("dna_*"),
    "student": timm.is_model("distilnas_student"),
    "params": sum(p.numel() for p in timm.create_model("dna_a").parameters()),
    "hooks": [repr(f) for f in sys.meta_path if "distilnas" in repr(f)],
    "loader": type(timm.__spec__.loader).__name__,
}))
"""


def run(program: str, *, path: Path | None = None) -> Any:
    """What ``program`` prints last, as JSON; with ``path`` first on the module path."""
    prelude = f"import sys\nsys.path.insert(0, {str(path)!r})\n" if path else "import sys\n"
    done = subprocess.run([sys.executable, "-c", prelude + program], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "imports",
    [
        "import distilnas\nassert not {'torch', 'timm'} & set(sys.modules)\nimport timm.models",
        "import timm\nimport distilnas",
        "import distilnas.networks\nimport timm",
    ],
    ids=["distilnas first", "timm first", "our networks first"],
)
def test_plain_imports_are_enough(imports: str):
    """Parameters: those of the published definition, Li et al. 2020 (table 1: 4.2 M)."""
    expected = {"dna": DNA, "student": True, "params": 4_243_318, "hooks": [], "loader": "SourceFileLoader"}
    assert run(imports + REPORT) == expected


def test_the_library_without_networks_does_not_load_torch():
    program = (
        "import json, distilnas.space, distilnas.solve, distilnas.tables, distilnas.cli.main\n"
        "print(json.dumps(sorted({'torch', 'timm'} & set(sys.modules))))"
    )
    assert run(program) == []


@pytest.fixture
def stub(tmp_path: Path) -> Path:
    """A timm without any content, so that our registration fails; it fails itself where TIMM_FAILS is set."""
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "__init__.py").write_text("import os\nif 'TIMM_FAILS' in os.environ: raise ImportError\n")
    return tmp_path


def test_the_hook_stays_until_timm_is_loaded_and_its_failure_is_only_logged(stub: Path):
    program = """
import importlib.util, json, logging, os, distilnas
logging.basicConfig(filename=os.devnull)
records = []
logging.getLogger("distilnas").addFilter(lambda record: records.append(record.getMessage()))
hooks = lambda: sum("distilnas" in repr(f) for f in sys.meta_path)
counts = [hooks()]
origin = importlib.util.find_spec("timm").origin
counts.append(hooks())
os.environ["TIMM_FAILS"] = ""
try:
    import timm
except ImportError:
    counts.append(hooks())
del os.environ["TIMM_FAILS"]
import timm
counts.append(hooks())
print(json.dumps([counts, origin == timm.__file__, records]))
"""
    counts, same, records = run(program, path=stub)
    assert counts == [1, 1, 1, 0]
    assert same
    assert records == ["distilnas's networks could not be registered in timm"]


def test_other_hooks_keep_working(stub: Path):
    """One before and one after ours that both ask all others, as such hooks do; and the package imported anew."""
    program = """
import json, distilnas
class Other:
    calls, busy = 0, False
    def find_spec(self, name, path=None, target=None):
        if name != "timm" or self.busy: return None
        self.busy = True
        specs = [f.find_spec(name, path, target) for f in sys.meta_path if f is not self]
        self.busy = False
        Other.calls += 1
        return next(spec for spec in specs if spec)
sys.meta_path.insert(0, Other())
del sys.modules["distilnas"]
import distilnas
sys.meta_path.insert(2, Other())
import timm
print(json.dumps([Other.calls > 0, sum("distilnas" in repr(f) for f in sys.meta_path), type(timm.__loader__).__name__]))
"""
    assert run(program, path=stub) == [True, 0, "SourceFileLoader"]


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
