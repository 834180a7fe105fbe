"""The core keeps its promise in whatever order things happen and go wrong."""

from __future__ import annotations

import pytest

from .core_machine import CoreMachine
from .exploring import explore

pytestmark = pytest.mark.fault(row=25)


def test_nothing_is_lost_or_made_up(core_machine: type[CoreMachine]) -> None:
    explore("core", core_machine)
