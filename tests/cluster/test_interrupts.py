import signal
import subprocess
import sys
import threading

import pytest

from overspill.cluster.interrupts import deferred


def test_it_takes_effect_at_the_end() -> None:
    reached = False
    with pytest.raises(KeyboardInterrupt), deferred():
        signal.raise_signal(signal.SIGINT)
        reached = True
    assert reached
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_also_one_that_another_thread_takes() -> None:
    unblocked = threading.Event()
    take = threading.Event()

    def other() -> None:
        unblocked.set()
        take.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    thread = threading.Thread(target=other)
    thread.start()
    unblocked.wait()
    reached = False
    with pytest.raises(KeyboardInterrupt), deferred():
        take.set()
        thread.join()
        reached = True
    assert reached


def test_an_error_inside_goes_on() -> None:
    with pytest.raises(ValueError, match="inside"), deferred():
        raise ValueError("inside")
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_handler_of_the_programs_own_is_called() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        with deferred():
            signal.raise_signal(signal.SIGINT)
            assert seen == []
        assert seen == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_request_to_end_that_the_program_handles_waits_too() -> None:
    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    reached = False
    try:
        with pytest.raises(KeyboardInterrupt), deferred():
            signal.raise_signal(signal.SIGTERM)
            reached = True
    finally:
        signal.signal(signal.SIGTERM, before)
    assert reached


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_threads_and_processes_started_inside_never_get_it() -> None:
    command = ["grep", "SigBlk", "/proc/self/status"]
    masks: list[int] = []

    def start() -> None:
        go.wait()
        masks.append(int(subprocess.run(command, capture_output=True, check=True).stdout.split()[1], 16))

    go = threading.Event()
    with deferred():
        thread = threading.Thread(target=start)
        thread.start()
    go.set()
    thread.join()
    assert [bool(masks[0] & 1 << (number - 1)) for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)] == [
        True,
        True,
        False,
    ]


def test_in_another_thread_than_the_main_one() -> None:
    failed: list[BaseException] = []

    def start() -> None:
        try:
            with deferred():
                pass
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert failed == []
