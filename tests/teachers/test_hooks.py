"""What counts as a module's one tensor, and putting another in its place."""

import pytest
import torch

from distilnas.teachers.hooks import tensor_of, with_tensor

ONE, OTHER = torch.zeros(1), torch.ones(1)


@pytest.mark.parametrize("output", [ONE, (ONE,), (ONE, 7, [2, 2]), ([14, 14], ONE)])
def test_a_tensor_alone_or_beside_plain_values_is_found_and_replaced(output: object) -> None:
    assert tensor_of(output) is ONE
    replaced = with_tensor(output, OTHER)
    assert type(replaced) is type(output)
    assert tensor_of(replaced) is OTHER
    if isinstance(output, tuple):
        assert [part for part in replaced if part is not OTHER] == [part for part in output if part is not ONE]


@pytest.mark.parametrize("output", [None, 3, (ONE, OTHER), (ONE, [OTHER]), (ONE, {"x": OTHER}), [ONE], {"x": ONE}])
def test_none_or_several_or_nested_tensors_are_not_one(output: object) -> None:
    assert tensor_of(output) is None
