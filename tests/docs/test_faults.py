"""The page about the fault matrix names the tests of each row, and all of them."""

from __future__ import annotations

import re
from collections import defaultdict

from .pages import ROOT, Page

ROWS = range(1, 26)
MARK = re.compile(r"\bfault\(row=(\d+)\)")


def rows_of_files() -> dict[int, set[str]]:
    """Paths of test files by the rows that they are marked by."""
    found = defaultdict(set)
    for path in (ROOT / "tests").rglob("test_*.py"):
        for row in MARK.findall(path.read_text(encoding="utf-8")):
            found[int(row)].add(str(path.relative_to(ROOT)))
    return dict(found)


def test_each_row_is_there_with_its_tests() -> None:
    page = Page("docs/explanation/faults.md").text
    lines = re.findall(r"^\| (\d+) \|(.*)$", page, re.MULTILINE)
    told = {int(row): set(re.findall(r"`(tests/[\w./]+)`", line)) for row, line in lines}

    assert list(told) == list(ROWS)
    # Tests of the oracle break the package, and not what the row says.
    oracle = {"tests/faults/test_oracle.py"}
    for row, paths in rows_of_files().items():
        assert paths - oracle <= told[row], row
    for path in set().union(*told.values()):
        assert "fault(row=" in (ROOT / path).read_text(encoding="utf-8"), path
