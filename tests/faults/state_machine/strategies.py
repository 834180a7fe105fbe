"""What the rules of the machines are given."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from .faults import Death, Fate
from .turns import BOUND, Behaviour

DEATHS = st.sampled_from(
    [Death.IN_HANDLER, Death.BEFORE_SETTLING, Death.BEFORE_STORING, Death.AFTER_STORING]
)
KEYS = st.sampled_from(sorted(BOUND))
#: Which of what a process has.
PICKS = st.integers(0, 2)
#: Which of the two processes acts.
PROCESSES = st.integers(0, 1)
FATES = st.lists(st.sampled_from(Fate), max_size=3)
#: After how many statements a process dies; mostly it does not.
STATEMENTS = st.none() | st.none() | st.integers(0, 5)
#: Less than a lease, more than a lease, and more than any delay.
TIMES = st.sampled_from([0.2, 5.0, 20.0, 100_000.0])


def behaviours(of: Sequence[Behaviour]) -> st.SearchStrategy[list[Behaviour]]:
    """What a few runs of handlers do."""
    return st.lists(st.sampled_from(of), min_size=1, max_size=3)
