"""A project keeps the promise in whatever order things happen and go wrong."""

from __future__ import annotations

import pytest

from .exploring import explore
from .project_machine import ProjectMachine

pytestmark = pytest.mark.fault(row=25)


def test_with_a_broker(outbox_machine: type[ProjectMachine]) -> None:
    explore("outbox", outbox_machine)


def test_with_queues_in_tables(table_machine: type[ProjectMachine]) -> None:
    explore("tables", table_machine)
