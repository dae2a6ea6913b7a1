import threading

from overspill.memory.store.turns import Turns


class Waiter(threading.Thread):
    """A task that waits for its turn."""

    def __init__(self, turns: Turns) -> None:
        super().__init__(daemon=True)
        self.turns = turns
        self.answer: bool | None = None
        self.start()

    def run(self) -> None:
        with self.turns._changed:
            self.answer = self.turns.wait()
            self.turns._changed.notify_all()

    def ended(self) -> bool:
        self.join(10)
        return not self.is_alive()


def waiting(turns: Turns, changed: threading.Condition, count: int) -> bool:
    with changed:
        return changed.wait_for(lambda: turns._waiting == count, timeout=10)


def end(turns: Turns, changed: threading.Condition) -> None:
    with changed:
        turns.end()
        changed.notify_all()


def made(running: int) -> tuple[Turns, threading.Condition]:
    changed = threading.Condition(threading.RLock())
    turns = Turns(changed)
    for _ in range(running):
        turns.begin()
    return turns, changed


def test_a_task_alone_does_not_wait() -> None:
    for running in (0, 1):
        turns, _ = made(running)
        assert not turns.wait()


def test_it_waits_until_another_ends() -> None:
    turns, changed = made(2)
    waiter = Waiter(turns)
    assert waiting(turns, changed, 1)
    end(turns, changed)
    assert waiter.ended()
    assert waiter.answer is True


def test_the_last_one_does_not_wait_and_the_others_wait_for_it() -> None:
    turns, changed = made(3)
    waiters = [Waiter(turns) for _ in range(2)]
    assert waiting(turns, changed, 2)
    assert not turns.wait()
    end(turns, changed)
    assert all(waiter.ended() for waiter in waiters)
    assert [waiter.answer for waiter in waiters] == [True, True]


def test_who_stands_for_another_reason_counts_as_waiting() -> None:
    turns, changed = made(2)
    waiter = Waiter(turns)
    assert waiting(turns, changed, 1)
    with changed, turns.standing():
        assert changed.wait_for(lambda: waiter.answer is not None, timeout=10), "or both would wait for ever"
    assert waiter.ended()
    assert waiter.answer is False


def test_nobody_waits_for_a_task_that_waits_for_others() -> None:
    turns, changed = made(2)
    waiter = Waiter(turns)
    assert waiting(turns, changed, 1)
    with changed:
        turns.away = lambda: 1  # it may wait for the very task that waits here
        changed.notify_all()
    assert waiter.ended()
    assert waiter.answer is False
    assert not turns.wait()


def test_the_event_loop_never_waits() -> None:
    turns, _ = made(2)
    turns.belongs_to_loop()
    assert not turns.wait()


def test_after_closing_nobody_waits() -> None:
    turns, changed = made(2)
    waiter = Waiter(turns)
    assert waiting(turns, changed, 1)
    turns.close()
    assert waiter.ended()
    assert not turns.wait()
