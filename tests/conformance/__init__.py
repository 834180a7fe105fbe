"""The contract of `domain_event_broker.transports.base` as tests.

``suite.py`` names the parts; each transport has one small file that runs them all.
"""

import pytest

pytest.register_assert_rewrite(
    "tests.conformance.harness",
    "tests.conformance.publishing",
    "tests.conformance.routing",
    "tests.conformance.subscriptions",
    "tests.conformance.receiving",
    "tests.conformance.settling",
    "tests.conformance.retries",
    "tests.conformance.dead_letters",
)
