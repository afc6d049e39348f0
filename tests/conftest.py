"""Makes the helpers beside it importable for all tests, which share torch's table of ONNX operators."""

import functools
from collections.abc import Iterator
from typing import Any

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_table_of_operators() -> Iterator[None]:
    """torch makes it anew for every export: a third of what a small network's takes."""
    export = torch.onnx.export

    def with_one_table(*args: Any, **kwargs: Any) -> Any:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        if not hasattr(ONNXRegistry.from_torchlib, "cache_info"):
            ONNXRegistry.from_torchlib = staticmethod(functools.cache(ONNXRegistry.from_torchlib))  # type: ignore[method-assign]
        return export(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", with_one_table)
        yield
