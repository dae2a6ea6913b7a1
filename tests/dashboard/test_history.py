import numpy as np

from overspill.dashboard.history import SAMPLES, History

from .stores import worker


def test_holds_what_stores_said() -> None:
    history = History()
    for now, nbytes in enumerate((5, 7, 6)):
        history.record(now, [worker(seen_s=now, nbytes=nbytes, limit_nbytes=10)])
    series = history.series["Worker-0"]
    assert series.nbytes["host"][-4:].tolist() == [0, 5, 7, 6]
    assert series.limit_nbytes["host"][-4:].tolist() == [0, 10, 10, 10]
    assert not series.nbytes["disk"].any()
    np.testing.assert_equal(history.times_s[-4:], [np.nan, 0, 1, 2])


def test_throughput_is_by_the_time_between_heartbeats() -> None:
    history = History()
    for now, seen, moved in ((10, 9.9, 1000), (11, 10.4, 1100), (12, 11.9, 1400)):
        history.record(now, [worker(seen_s=seen, moved=moved)])
    per_s = history.series["Worker-0"].bytes_per_s["host_to_disk"]
    np.testing.assert_allclose(per_s[-3:], [0, 100 / 0.5, 300 / 1.5])


def test_throughput_lasts_until_the_next_heartbeat() -> None:
    history = History()
    for now, seen, moved in ((10, 9.9, 0), (11, 10.9, 500), (12, 10.9, 500), (13, 12.9, 600)):
        history.record(now, [worker(seen_s=seen, moved=moved)])
    per_s = history.series["Worker-0"].bytes_per_s["host_to_disk"]
    np.testing.assert_allclose(per_s[-4:], [0, 500, 500, 50])


def test_what_a_worker_moved_before_it_was_seen_is_no_throughput() -> None:
    history = History()
    history.record(1, [worker(seen_s=1, moved=10**12)])
    assert not history.series["Worker-0"].bytes_per_s["host_to_disk"].any()


def test_the_dead_leave_with_the_window() -> None:
    history = History()
    history.record(0, [worker("0", nbytes=3), worker("1", nbytes=4)])
    for now in range(1, SAMPLES):
        history.record(now, [worker("1", nbytes=4)])
        assert history.series["Worker-0"].nbytes["host"][-1] == 0
        assert history.series["Worker-0"].nbytes["host"].sum() == 3
    history.record(SAMPLES, [worker("1", nbytes=4)])
    assert list(history.series) == ["Worker-1"]
    assert not np.isnan(history.times_s).any()


def test_stays_as_small_as_it_is() -> None:
    history = History()
    for now in range(2 * SAMPLES):
        history.record(now, [worker(nbytes=1, seen_s=now)])
    assert history.times_s.size == SAMPLES
    assert {values.size for values in history.series["Worker-0"].arrays()} == {SAMPLES}


def test_an_idle_worker_stays() -> None:
    history = History()
    for now in range(SAMPLES + 5):
        history.record(now, [worker(seen_s=now)])
    assert list(history.series) == ["Worker-0"]
