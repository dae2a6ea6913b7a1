from overspill.memory import ledger
from overspill.memory.store.meter import Meter


def test_counts_add_up_and_are_plain_numbers() -> None:
    meter = Meter()
    meter.moved("host_to_disk", 3)
    meter.moved("host_to_disk", 4)
    meter.took("host_to_disk", 0.5)
    meter.evicted("host_limit")
    assert meter.links()["host_to_disk"] == {"nbytes": 7, "seconds": 0.5}
    assert meter.links()["disk_to_host"] == {"nbytes": 0, "seconds": 0.0}
    assert meter.evictions() == {"device_limit": 0, "device_allocation": 0, "host_limit": 1, "host_allocation": 0}


def test_bytes_go_to_the_ledger_too() -> None:
    before = ledger.snapshot()["device_to_host_nbytes"]
    Meter().moved("device_to_host", 5)
    assert ledger.snapshot()["device_to_host_nbytes"] - before == 5
