"""How much memory this process holds."""

from pathlib import Path

KIB_PER_MIB = 1024


class MemoryWatch:
    """Compares with when it was made: the resident set then, and its peak until now (Linux)."""

    def __init__(self) -> None:
        self._start_mib = _mib("VmRSS")

    def figures(self) -> dict[str, float]:
        peak_mib = max(_mib("VmHWM"), self._start_mib)
        return {"start_mib": self._start_mib, "growth_mib": peak_mib - self._start_mib}


def peak_mib() -> float:
    """The most that was resident since this process began (Linux)."""
    return _mib("VmHWM")


def held_mib() -> dict[str, float]:
    """What is resident now, and what of it no other process has, too (Linux)."""
    parts = ("Private_Clean", "Private_Dirty")
    return {
        "rss_mib": _mib("Rss", "smaps_rollup"),
        "uss_mib": sum(_mib(part, "smaps_rollup") for part in parts),
    }


def _mib(name: str, file: str = "status") -> float:
    lines = (Path("/proc/self") / file).read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return int(values[name].split()[0]) / KIB_PER_MIB
