"""A process on its own shares with nobody; what several do together is tested in recipes/test_processes.py."""

import pytest
import torch

from distilnas.errors import UsageError
from distilnas.runtime import ranks


def test_alone_everything_is_as_it_was(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    ranks.join()
    weight = torch.nn.Parameter(torch.ones(3))
    weight.grad, losses = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0])
    with ranks.shared(True):
        assert (ranks.leads(), ranks.rank(), ranks.world_size(), ranks.local_rank()) == (True, 0, 1, 0)
        ranks.average_gradients([torch.optim.SGD([weight])], losses)
        assert ranks.gather("mine") == ["mine"]
        assert ranks.from_first(lambda: "made") == "made"
        ranks.check_shares(7, None)
    assert weight.grad.tolist() == [1, 2, 3]
    assert losses.tolist() == [4]


def test_two_ranks_share_within_a_shared_step_only(monkeypatch: pytest.MonkeyPatch):
    """With the group's answers written by hand: this is the second of two, the first's gradients are all 3."""
    monkeypatch.setattr(ranks.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(ranks.dist, "get_rank", lambda: 1)
    monkeypatch.setattr(ranks.dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(ranks.dist, "all_reduce", lambda flat: flat.add_(3))
    used, unused = torch.nn.Parameter(torch.ones(2, 4)), torch.nn.Parameter(torch.ones(1))
    used.grad, losses = torch.arange(8.0).view(2, 4), torch.tensor([1.0, 5.0])
    assert not ranks.leads()
    assert (ranks.rank(), ranks.world_size()) == (0, 1)
    with ranks.shared(True):
        assert (ranks.rank(), ranks.world_size()) == (1, 2)
        with ranks.shared(False):
            assert ranks.world_size() == 1
        ranks.average_gradients([torch.optim.SGD([used, unused])], losses)
    assert torch.equal(used.grad, (torch.arange(8.0).view(2, 4) + 3) / 2)
    assert unused.grad is None
    assert losses.tolist() == [2, 4]
    assert ranks.world_size() == 1


@pytest.mark.parametrize(
    ("batch_size", "micro_batch", "even", "fits"),
    [
        (8, None, False, True),
        (7, None, False, False),
        (2, None, False, False),  # a single image has no batch statistics
        (384, 128, False, False),  # one and a half micro-batches each
        (384, 192, False, True),
        (384, 384, False, True),  # more than a share: its share at once
        (50, None, True, False),  # 25 cannot be paired
        (52, None, True, True),
    ],
)
def test_what_two_processes_can_share(
    monkeypatch: pytest.MonkeyPatch, batch_size: int, micro_batch: int | None, even: bool, fits: bool
):
    monkeypatch.setattr(ranks, "processes", lambda: 2)
    if fits:
        ranks.check_shares(batch_size, micro_batch, even=even)
    else:
        with pytest.raises(UsageError, match=f"2 processes cannot share batch_size={batch_size} "):
            ranks.check_shares(batch_size, micro_batch, even=even)
