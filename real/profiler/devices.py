"""Which replica gets which device: one GPU each while there are any, the CPU for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from real.errors import RefusedError

CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Device:
    """Where a replica scores.

    Attributes:
        name: `cpu`, `gpu:0`, or `pretended:0`.
        speed: How many times as fast as the CPU a pretended device is.
    """

    name: str = CPU
    speed: float = 1.0

    @property
    def pretended(self) -> bool:
        """Whether it is none: the sleep model waits less there."""
        return self.name.startswith("pretended")


def spread(replicas: int, gpus: tuple[Device, ...]) -> tuple[Device, ...]:
    """The device of each replica: the GPUs in order, then the CPU."""
    return tuple(gpus[k] if k < len(gpus) else Device() for k in range(replicas))


def real_gpus(numbers: tuple[int, ...]) -> tuple[Device, ...]:
    """GPUs of this machine.

    Raises:
        RefusedError: One is not there.
    """
    there = present()
    for number in numbers:
        if number not in there:
            have = f"this machine has {', '.join(map(str, there))}" if there else "this machine has none"
            raise RefusedError("--model-gpus", f"no GPU {number}: {have}; --pretended-gpus tries out where replicas go")
    return tuple(Device(f"gpu:{number}") for number in numbers)


def pretended_gpus(numbers: tuple[int, ...], speed: float) -> tuple[Device, ...]:
    """Devices that are not there, on which the sleep model waits `speed` times less."""
    return tuple(Device(f"pretended:{number}", speed) for number in numbers)


def present(root: Path = Path("/dev")) -> tuple[int, ...]:
    """Numbers of the NVIDIA GPUs whose device files are here."""
    names = (path.name.removeprefix("nvidia") for path in root.glob("nvidia[0-9]*"))
    return tuple(sorted(int(name) for name in names if name.isdigit()))
