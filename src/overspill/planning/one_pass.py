"""What one task of elementwise work, of a reduction or a re-layout moves and does. Integers only.

A pass: chunks come in, over a link or from disk, functions sweep over them, on the host or on a device, and a result
goes out. Matrix products are planned on their own.
"""

from dataclasses import dataclass
from typing import Self

from overspill.planning.operations import NOTHING, Operations


@dataclass(frozen=True, slots=True)
class Pass:
    """What one task moves and does, or several together.

    Attributes
    ----------
    uploaded_nbytes, downloaded_nbytes
        From host memory to a device and back.
    mixed_nbytes
        What of `uploaded_nbytes` goes up without being told to, because a function takes chunks of either residence.
    read_nbytes
        From disk.
    made_nbytes
        Made in host memory from nothing, such as random numbers.
    device_nbytes, host_nbytes
        Read and written in a device's and in host memory: each function's inputs and results.
    on_device, on_host
        Operations of the functions.
    """

    uploaded_nbytes: int = 0
    downloaded_nbytes: int = 0
    mixed_nbytes: int = 0
    read_nbytes: int = 0
    made_nbytes: int = 0
    device_nbytes: int = 0
    host_nbytes: int = 0
    on_device: Operations = NOTHING
    on_host: Operations = NOTHING

    def __add__(self, other: Self) -> "Pass":
        return Pass(
            self.uploaded_nbytes + other.uploaded_nbytes,
            self.downloaded_nbytes + other.downloaded_nbytes,
            self.mixed_nbytes + other.mixed_nbytes,
            self.read_nbytes + other.read_nbytes,
            self.made_nbytes + other.made_nbytes,
            self.device_nbytes + other.device_nbytes,
            self.host_nbytes + other.host_nbytes,
            self.on_device + other.on_device,
            self.on_host + other.on_host,
        )

    def in_numpy(self) -> "Pass":
        """The same work left on the host."""
        return Pass(
            read_nbytes=self.read_nbytes,
            made_nbytes=self.made_nbytes,
            host_nbytes=self.host_nbytes + self.device_nbytes,
            on_host=self.on_host + self.on_device,
        )


@dataclass(frozen=True, slots=True)
class Peak:
    """Most bytes that one task has in hand at a time, in its device's memory and in host memory.

    Attributes
    ----------
    device_nbytes, host_nbytes
        Its inputs, its result, and what lies between them.
    temporary_nbytes
        The part of `host_nbytes` that is neither input nor result.
    """

    device_nbytes: int = 0
    host_nbytes: int = 0
    temporary_nbytes: int = 0

    def __or__(self, other: "Peak") -> "Peak":
        return Peak(
            max(self.device_nbytes, other.device_nbytes),
            max(self.host_nbytes, other.host_nbytes),
            max(self.temporary_nbytes, other.temporary_nbytes),
        )
