"""How long Python takes to start and import something."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from statistics import median

from .processes import PROJECT
from .rounds import Figures

BARE, OURS, PIKA = "pass", "import domain_event_broker", "import pika"
PROGRAMS = (BARE, OURS, PIKA)
STARTS = 20


def start_times() -> dict[str, Figures]:
    """The medians of a number of starts, of each program in turn."""
    found: dict[str, list[tuple[float, float]]] = {program: [] for program in PROGRAMS}
    for _ in range(STARTS):
        for program in PROGRAMS:
            found[program].append(start_ms(program))
    return {
        program: {"ms": median(ms for ms, _ in times), "cpu_ms": median(cpu for _, cpu in times)}
        for program, times in found.items()
    }


def start_ms(program: str) -> tuple[float, float]:
    """How long it ran, and how much processor time it used."""
    began, began_cpu = time.perf_counter(), children_cpu_seconds()
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)
    seconds, cpu_seconds = time.perf_counter() - began, children_cpu_seconds() - began_cpu
    return seconds * 1000, cpu_seconds * 1000


def children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def imports_pika() -> bool:
    """Whether importing ours imports pika."""
    program = f"import sys; {OURS}; sys.exit('pika' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=False)
    return finished.returncode != 0
