"""What part of the chunks that exist at a time stays on the devices, and what must spill to the host and to disk."""

from dataclasses import dataclass

from overspill.planning.alive import Demand
from overspill.planning.resources import Resources
from overspill.units import format_nbytes, format_seconds


@dataclass(frozen=True, slots=True)
class Spilling:
    """Where the chunks that exist at a time find room, if they are spread evenly over the workers.

    `on_device_nbytes`, `in_host_nbytes` and `on_disk_nbytes` add up to all of them.

    Attributes
    ----------
    device, host
        What is asked of the devices' memory and of the host's, each at its most.
    workers
        Processes, each with a GPU of its own where there are any.
    device_limit_nbytes
        What one worker may keep on its GPU; 0 without GPUs.
    host_limit_nbytes
        What all workers together may keep in host memory.
    on_device_nbytes
        Device chunks that stay on the devices.
    to_host_nbytes
        Device chunks that leave them, to host memory or through it to disk.
    in_host_nbytes
        Chunks in host memory, of either residence.
    on_disk_nbytes
        Chunks for which host memory has no room either.
    out_s, back_s
        Seconds to move what spills out of the devices and out of host memory once, one link after the other, all
        workers at once; and to bring it back. A chunk that is used again and again may move more often.
    figures
        Where the rates come from.
    """

    device: Demand
    host: Demand
    workers: int
    device_limit_nbytes: int
    host_limit_nbytes: int
    on_device_nbytes: int
    to_host_nbytes: int
    in_host_nbytes: int
    on_disk_nbytes: int
    out_s: float
    back_s: float
    figures: str

    @property
    def held_nbytes(self) -> int:
        """Most bytes of chunks that exist at a time, on the devices and in host memory."""
        return self.device.held_nbytes + self.host.held_nbytes

    @property
    def staying_in_host_nbytes(self) -> int:
        """Host chunks that stay in host memory; the rest of `in_host_nbytes` has come from the devices."""
        return min(self.host.held_nbytes, self.in_host_nbytes)

    @property
    def spilled_nbytes(self) -> int:
        """Bytes of chunks that cannot stay where their residence is."""
        return self.held_nbytes - self.on_device_nbytes - self.staying_in_host_nbytes

    def warnings(self) -> list[str]:
        """What will not go well: chunks and tasks larger than the memory of one worker."""
        found = []
        limit, chunk, task = self.device_limit_nbytes, self.device.largest_chunk_nbytes, self.device.largest_task_nbytes
        if self.device.held_nbytes and not limit:
            found.append("chunks live on the device, but the workers of this plan have no GPUs")
        elif chunk > limit:
            found.append(
                f"a chunk of {format_nbytes(chunk)} exceeds the limit of a GPU, {format_nbytes(limit)}: pass smaller "
                "chunks= or raise device_memory="
            )
        elif task > limit:
            found.append(
                f"a task's inputs and result, {format_nbytes(task)} on the device, exceed the limit of a GPU, "
                f"{format_nbytes(limit)}: pass smaller chunks= or raise device_memory="
            )
        share = self.host_limit_nbytes // self.workers
        leaving = self.device.largest_chunk_nbytes if self.to_host_nbytes else 0
        if (chunk := max(leaving, self.host.largest_chunk_nbytes)) > share:
            found.append(
                f"a chunk of {format_nbytes(chunk)} exceeds a worker's share of host memory, {format_nbytes(share)}: "
                "it goes to disk; pass smaller chunks= or raise memory="
            )
        return found

    def rows(self, name: str) -> list[tuple[str, str]]:
        """As (what, how much) pairs for people, the first one named `name`."""
        rows = [(name, f"{self._held()}: {self._shares()}")]
        if self.spilled_nbytes:
            once = f"once out {format_seconds(self.out_s)}, once back {format_seconds(self.back_s)}"
            rows.append(("  spilling", f"{once}; from {self.figures}"))
        return rows

    def _held(self) -> str:
        device, host = self.device.held_nbytes, self.host.held_nbytes
        parts = []
        if device:
            parts.append(f"{format_nbytes(device)} on the device")
        if host or not device:
            parts.append(f"{format_nbytes(host)} in host memory")
        return " and ".join(parts)

    def _shares(self) -> str:
        gpus = f"{self.workers} GPU{'s' * (self.workers != 1)}"
        if not self.spilled_nbytes:
            return "fits" if not self.device.held_nbytes else f"fits on {gpus}"
        parts = []
        if self.device.held_nbytes:
            parts.append(f"{format_nbytes(self.on_device_nbytes)} fit on {gpus}")
        if self.host.held_nbytes:
            parts.append(f"{format_nbytes(self.staying_in_host_nbytes)} fit in host memory")
        if to_host := self.in_host_nbytes - self.staying_in_host_nbytes:
            parts.append(f"{format_nbytes(to_host)} spill to host memory")
        if self.on_disk_nbytes:
            parts.append(f"{format_nbytes(self.on_disk_nbytes)} spill to disk")
        return ", ".join(parts)


def spill(device: Demand, host: Demand, resources: Resources) -> Spilling:
    """Where chunks that ask for `device` and `host` find room within `resources`.

    Examples
    --------
    >>> from overspill.planning.resources import Rates, Resources
    >>> rates = Rates({}, 50e9, 40e9, 90e9, 1e9, 1e9, 4e12, 1e13, 5e-3, "figures made up")
    >>> resources = Resources("cuda", 4, 2, 4 * 2**30, 64 * 2**30, rates, rates)
    >>> found = spill(Demand(48 * 2**30), Demand(), resources)
    >>> print(*found.rows("memory")[0])
    memory 48 GiB on the device: 16 GiB fit on 4 GPUs, 32 GiB spill to host memory
    """
    workers, rates = resources.workers, resources.rates
    limit = resources.device_nbytes if resources.device == "cuda" else 0
    on_device = min(device.held_nbytes, limit * workers)
    to_host = device.held_nbytes - on_device
    in_host = min(host.held_nbytes + to_host, resources.pool_nbytes)
    on_disk = host.held_nbytes + to_host - in_host
    disk_s = on_disk / (rates.disk_per_s * workers * resources.threads)
    return Spilling(
        device=device,
        host=host,
        workers=workers,
        device_limit_nbytes=limit,
        host_limit_nbytes=resources.pool_nbytes,
        on_device_nbytes=on_device,
        to_host_nbytes=to_host,
        in_host_nbytes=in_host,
        on_disk_nbytes=on_disk,
        out_s=to_host / (rates.download_per_s * workers) + disk_s,
        back_s=to_host / (rates.upload_per_s * workers) + disk_s,
        figures=rates.source,
    )
