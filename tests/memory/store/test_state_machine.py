"""Any operations in any order, with copies that fail at any of them: no value is lost, and the books stay right."""

import errno
import gc
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest
from distributed.protocol.serialize import deserialize, serialize
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from memory.store.books import assert_books, assert_nothing_held, quiet
from memory.store.fake import FakeDevice
from memory.store.kit import BLOCK, Opaque, Pair, assert_same
from overspill.memory import tile
from overspill.memory.pool import Pool
from overspill.memory.store import Store, disk
from overspill.memory.store.entry import Entry, Key
from overspill.memory.store.parcel import Parcel

KEYS: list[Key] = ["x", ("x", 0), b"y", 3]
STEPS = ("allocate", "upload", "download", "tile", "write", "read")
ERRORS = (
    OSError(errno.ENOSPC, "no room"),
    OSError(errno.EIO, "the disk is broken"),
    MemoryError("none left"),
    RuntimeError("something else"),
)


class Unpicklable:
    def __init__(self, x: Any) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> Any:
        raise TypeError("not this one")


def numbers(seed: int, blocks: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, blocks * BLOCK, np.uint8)


KINDS: dict[str, Callable[[FakeDevice, Any], Any]] = {
    "device": lambda device, x: device.array(x),
    "turned round": lambda device, x: device.array(x)[::-2],
    "sharing": lambda device, x: (lambda base: [base[: x.size // 2], base[x.size // 4 :], base])(device.array(x)),
    "host": lambda device, x: x.copy(),
    "tile": lambda device, x: tile.as_tile(x),
    "both": lambda device, x: Pair(device.array(x), {"host": x.copy(), "none": None}),
    "small": lambda device, x: device.array(x[:10]),
    "number": lambda device, x: int(x[0]),
}
EXPECTED: dict[str, Callable[[Any], Any]] = {
    "turned round": lambda x: x[::-2],
    "sharing": lambda x: [x[: x.size // 2], x[x.size // 4 :], x],
    "both": lambda x: Pair(x, {"host": x, "none": None}),
    "small": lambda x: x[:10],
    "number": lambda x: int(x[0]),
}


class StoreMachine(RuleBasedStateMachine):
    """A store whose limits nobody keeps but the rules."""

    kept = False

    @initialize(device=st.integers(1, 12), host=st.integers(1, 12))
    def open(self, device: int, host: int) -> None:
        self.directory = tempfile.mkdtemp()
        tile.close()
        tile.configure(pool_nbytes=host * BLOCK, directory=self.directory)
        self.device = FakeDevice(device * BLOCK)
        self.faults = self.device.faults
        self.broken = [
            mock.patch.object(Pool, "allocate", self.breaking("tile", Pool.allocate)),
            mock.patch.object(disk, "_write", self.breaking("write", disk._write)),
            mock.patch.object(disk, "_read", self.breaking("read", disk._read)),
        ]
        for patch in self.broken:
            patch.start()
        self.store = Store(worker_local_directory=self.directory)
        if not self.kept:
            self.broken.append(mock.patch.object(self.store.keeper, "start"))
            self.broken[-1].start()
        self.store.open(self.device)
        self.model: dict[Key, Any] = {}
        self.pinned: list[tuple[list[Entry], bool]] = []
        self.seed = 0

    def breaking(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*arguments: Any) -> Any:
            self.faults.check(step)
            return function(*arguments)

        return checked

    def attempt(self, operation: Callable[[], Any]) -> tuple[bool, Any]:
        """Whether `operation` succeeded, as it must unless something broken was met; and its result."""
        met = self.faults.met
        try:
            return True, operation()
        except (OSError, MemoryError, RuntimeError, TypeError) as error:
            assert self.faults.met > met, f"failed for no reason: {error!r}"
            return False, None

    # The mapping.

    @rule(key=st.sampled_from(KEYS), kind=st.sampled_from(sorted(KINDS)), blocks=st.integers(1, 4))
    def put(self, key: Key, kind: str, blocks: int) -> None:
        self.seed += 1
        x = numbers(self.seed, blocks)
        made, value = self.attempt(lambda: KINDS[kind](self.device, x))
        if made:
            self.store[key] = value
            self.model[key] = EXPECTED.get(kind, lambda x: x)(x)

    @rule(key=st.sampled_from(KEYS), wrapped=st.sampled_from([Unpicklable, Opaque]), on_device=st.booleans())
    def put_object(self, key: Key, wrapped: type, on_device: bool) -> None:
        self.seed += 1
        x = numbers(self.seed, 1)
        made, inner = self.attempt(lambda: self.device.array(x) if on_device else x)
        if made:
            value = wrapped(inner)
            self.store[key] = value
            self.model[key] = x if wrapped is Opaque else value

    @precondition(lambda self: self.model)
    @rule(data=st.data(), key=st.sampled_from(KEYS))
    def put_view(self, data: Any, key: Key) -> None:
        source = data.draw(st.sampled_from(list(self.model)))
        expected = self.model[source]
        if isinstance(expected, np.ndarray):
            got, value = self.attempt(lambda: self.store[source])
            if got and not isinstance(value, Opaque):
                self.store[key] = value[3:]
                self.model[key] = expected[3:]

    @rule(key=st.sampled_from(KEYS))
    def get(self, key: Key) -> None:
        if key in self.model:
            got, value = self.attempt(lambda: self.store[key])
            if got:
                assert_same(value.x if isinstance(value, Opaque) else value, self.model[key])
        else:
            with pytest.raises(KeyError):
                self.store[key]

    @rule(key=st.sampled_from(KEYS))
    def delete(self, key: Key) -> None:
        if self.model.pop(key, self) is self:
            with pytest.raises(KeyError):
                del self.store[key]
        else:
            del self.store[key]

    # Tasks and peers.

    @precondition(lambda self: len(self.pinned) < 2)
    @rule(keys=st.lists(st.sampled_from(KEYS), max_size=3, unique=True))
    def begin_task(self, keys: list[Key]) -> None:
        entries = self.store.pin(keys)
        acquired, _ = self.attempt(lambda: self.store.acquire(entries))
        assert self.store.resident(keys) or not acquired
        self.pinned.append((entries, acquired))

    @precondition(lambda self: self.pinned)
    @rule()
    def end_task(self) -> None:
        entries, _ = self.pinned.pop(0)
        self.store.release(entries)

    @rule(source=st.sampled_from(KEYS), key=st.sampled_from(KEYS))
    def send(self, source: Key, key: Key) -> None:
        """Answer a peer, which is this store too."""
        prepared, values = self.attempt(lambda: self.store.prepare([source], "worker"))
        if not prepared:
            return
        assert list(values) == [source] * (source in self.model)
        for value in values.values():
            if isinstance(value, Parcel):
                arrived, value = self.attempt(lambda parcel=value: deserialize(*serialize(parcel)))
                assert not arrived or isinstance(value, Parcel)
                if not arrived:
                    return
            self.store[key] = value
            self.model[key] = self.model[source]

    # Making room.

    @rule(blocks=st.integers(0, 6), temporary=st.booleans())
    def reclaim_device(self, blocks: int, temporary: bool) -> None:
        self.attempt(lambda: self.store.keeper.reclaim_device(blocks * BLOCK, temporary=temporary))

    @rule(blocks=st.integers(0, 6))
    def reclaim_host(self, blocks: int) -> None:
        self.attempt(lambda: self.store.keeper.reclaim_host(blocks * BLOCK))

    @rule(device=st.integers(1, 12), host=st.integers(1, 12))
    def change_limits(self, device: int, host: int) -> None:
        self.device.limit_nbytes = device * BLOCK
        tile.configure(pool_nbytes=host * BLOCK, directory=self.directory)

    @rule()
    def keep_limits(self) -> None:
        if self.kept:
            return quiet(self.store)
        moved = True
        while moved:
            moved = False
            for cause in self.store._tiers.excess():
                succeeded, freed = self.attempt(lambda cause=cause: self.store._mover.evict(cause))
                moved = moved or (succeeded and freed is not None)

    @rule()
    def finish(self) -> None:
        self.device.finish()

    # What goes wrong.

    @rule(step=st.sampled_from(STEPS), error=st.sampled_from(ERRORS))
    def break_(self, step: str, error: Exception) -> None:
        self.faults.errors[step] = type(error)(*error.args)

    @rule()
    def mend(self) -> None:
        self.faults.errors.clear()

    # What always holds.

    @invariant()
    def what_tasks_use_stays(self) -> None:
        for entries, acquired in self.pinned:
            assert all(entry.pins > 0 and (entry.resident or not acquired) for entry in entries)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert set(self.store) == set(self.model)
        if self.kept:
            quiet(self.store)
        assert_books(self.store)

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        try:
            self.faults.errors.clear()
            while self.pinned:
                self.end_task()
            self.keep_limits()
            self.assert_limits()
            for key in [*KEYS, *reversed(KEYS)]:
                self.get(key)
            self.keep_limits()
            self.model.clear()
            self.store.clear()
            gc.collect()
            assert_nothing_held(self.store)
            assert tile.pool().used_nbytes() == 0
        finally:
            self.store.close()
            for patch in self.broken:
                patch.stop()
            files = [name for _, _, names in os.walk(self.directory) for name in names]
            shutil.rmtree(self.directory)
        assert files == []

    def assert_limits(self) -> None:
        entries = self.store._entries.values()
        if any(entry.stuck for entry in entries):
            return
        # Host arrays beside arrays of the device leave with these.
        beside = sum(nbytes for entry in entries if entry.on_device for _, nbytes in entry.host_extents)
        tiers = self.store.figures()["tiers"]
        assert tiers["device"]["nbytes"] <= tiers["device"]["limit_nbytes"]
        assert tiers["host"]["nbytes"] <= tiers["host"]["limit_nbytes"] + beside


class KeptStoreMachine(StoreMachine):
    """A store whose own thread keeps the limits, all the while."""

    kept = True


def run(machine: type[StoreMachine], examples: int, steps: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("machine", [StoreMachine, KeptStoreMachine])
def test_any_operations_in_any_order(machine: type[StoreMachine]) -> None:
    run(machine, 15, 30)


@pytest.mark.stress
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("machine", [StoreMachine, KeptStoreMachine])
def test_any_operations_in_any_order_for_long(machine: type[StoreMachine]) -> None:
    run(machine, 5_000, 60)
