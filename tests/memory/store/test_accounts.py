from dataclasses import dataclass
from typing import Any

import numpy as np

from memory.store.fake import FakeCSR, FakeDevice
from overspill.memory import tile
from overspill.memory.store.accounts import LONGEST, Account, holdings

KIB = 2**10
BLOCK = 64 * KIB


@dataclass
class Pair:
    left: Any
    right: Any


def total(extents: Any) -> int:
    return sum(nbytes for _, nbytes in extents)


def test_an_allocation_counts_once_however_many_hold_it() -> None:
    account = Account()
    account.add((("a", 10), ("b", 5)))
    account.add((("a", 10),))
    assert (account.nbytes, account.holders) == (15, 2)
    assert account.remove((("a", 10), ("b", 5))) == 5
    assert account.nbytes == 10
    assert account.remove((("a", 10),)) == 10
    assert (account.nbytes, account.holders, account.peak_nbytes) == (0, 0, 15)


def test_a_name_used_again_meanwhile_does_not_unbalance_it() -> None:
    account = Account()
    account.add((("a", 10),))
    account.add((("a", 3),))
    account.remove((("a", 10),))
    account.remove((("a", 3),))
    assert account.nbytes == 0


def test_views_hold_their_base() -> None:
    x = np.zeros(BLOCK, np.uint8)
    assert total(holdings(x[:10], None).host) == BLOCK
    assert (
        total(holdings([x[:10], x[5:].reshape(-1, 1).T, x[::-1]], None).host) - total(holdings([], None).host) == BLOCK
    )


def test_views_of_the_device_hold_their_allocation() -> None:
    device = FakeDevice(2**30)
    x = device.array(np.zeros(BLOCK, np.uint8))
    held = holdings((x, x[:10], {"a": x[::-1], ("b", 1): [x.T]}), device)
    assert total(held.device) == BLOCK
    assert holdings(x[5:9], device).device == held.device


def test_tiles_count_as_whole_blocks_and_once() -> None:
    x = tile.empty((BLOCK + 1,), np.uint8)
    held = holdings([x, x[3:7]], None).host
    assert total(held) == BLOCK + 4 * KIB
    assert len(held) == 1


def test_sparse_matrices_dataclasses_and_containers_are_searched() -> None:
    device = FakeDevice(2**30)
    A = FakeCSR(*(device.array(np.zeros(BLOCK, np.uint8)) for _ in range(3)), (1, 1))
    assert total(holdings(A, device).device) == 3 * BLOCK
    assert total(holdings(Pair([A], {"b": (A, Pair(A.data, None))}), device).device) == 3 * BLOCK


def test_a_container_in_itself_ends() -> None:
    x: list[Any] = [np.zeros(BLOCK, np.uint8)]
    x.append(x)
    assert total(holdings(x, None).host) == BLOCK


def test_arrays_without_elements_hold_nothing() -> None:
    device = FakeDevice(2**30)
    assert holdings(device.array(np.empty((0, 3))), device).device == ()


def test_longer_containers_are_weighed_by_samples() -> None:
    x = np.zeros(BLOCK, np.uint8)
    held = holdings([x] * (LONGEST + 1), None).host
    assert total(held) > LONGEST * BLOCK // 2
