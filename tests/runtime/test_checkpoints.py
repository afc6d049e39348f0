"""Trees of tensors come back as they were stored; damaged files are refused by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from distilnas.errors import UsageError
from distilnas.runtime.checkpoints import load_tree, save_tree

DTYPES = (
    torch.float32,
    torch.float64,
    torch.bfloat16,
    torch.float16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
)
KEYS = st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.just("__tensor__")
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.builds(
        lambda dtype, shape: (
            (torch.arange(max(1, int(torch.tensor(shape).prod())))[: torch.Size(shape).numel()] % 2)
            .reshape(shape)
            .to(dtype)
        ),
        st.sampled_from(DTYPES),
        st.lists(st.integers(0, 3), max_size=3),
    )
)
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(_same(x, y) for x, y in zip(one, other, strict=True))
    return type(one) is type(other) and one == other


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(TREES)
def test_round_trip(tmp_path: Path, tree: Any) -> None:
    save_tree(tmp_path / "tree", tree)
    assert _same(tree, load_tree(tmp_path / "tree"))


def test_shared_transposed_and_trainable_tensors(tmp_path: Path) -> None:
    base = torch.arange(6.0, requires_grad=True).reshape(2, 3)
    tree = {0: base, 1: base.T, 2: (base[0], base[:, 1])}
    save_tree(tmp_path / "tree", tree)
    assert _same({0: base, 1: base.T, 2: [base[0], base[:, 1]]}, load_tree(tmp_path / "tree"))


def test_optimiser_state_comes_back(tmp_path: Path) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight])
    weight.sum().backward()
    optimizer.step()
    save_tree(tmp_path / "tree", optimizer.state_dict())
    other = torch.optim.Adam([weight])
    other.load_state_dict(load_tree(tmp_path / "tree"))
    assert torch.equal(other.state[weight]["exp_avg"], optimizer.state[weight]["exp_avg"])


@pytest.mark.parametrize("kept", [0, 5, 40, -1])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_tree(path, {"weight": torch.ones(100), "step": 3})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UsageError, match=r"checkpoint\.safetensors is damaged .*Delete this file"):
        load_tree(path)


def test_another_safetensors_file_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, tmp_path / "other")
    with pytest.raises(UsageError, match="other is damaged"):
        load_tree(tmp_path / "other")


@pytest.mark.parametrize("tree", [{"a": object()}, {(1, 2): 3}, {None: 1}])
def test_what_cannot_come_back_is_not_stored(tmp_path: Path, tree: Any) -> None:
    with pytest.raises(TypeError):
        save_tree(tmp_path / "tree", tree)
    assert not (tmp_path / "tree").exists()
