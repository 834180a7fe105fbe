"""``replay_dead_letters`` that does something else: discards, exports and imports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from domain_event_broker.django.dead_letters import files
from domain_event_broker.django.models import DeadLetter
from domain_event_broker.django.registry import Registry

from .answers import answering
from .command_runs import Failing, replay
from .dead_letters.letters import foreign, letter, rows, states, store
from .marks import both_databases

pytestmark = both_databases


@pytest.fixture(autouse=True)
def two(handlers: Registry) -> None:
    """Dead letters of "bill"."""
    Failing("bill")
    store(letter("a"), letter("b", error_type="KeyError"))


class TestDiscard:
    def test_it_asks_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        questions = answering(monkeypatch, "y")

        assert replay("--discard", "--error", "KeyError") == "1 discarded.\n"
        assert questions == ["Discard 1 dead letter(s), which nobody handles then? [y/N] "]
        assert states() == {"a": "waiting", "b": "discarded"}

    @pytest.mark.parametrize("answer", [" YES ", "Y"])
    def test_yes_in_other_words(self, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
        answering(monkeypatch, answer)

        assert replay("--discard") == "2 discarded.\n"

    @pytest.mark.parametrize("answers", [["n"], [""], ["yesterday"], []], ids=str)
    def test_anything_else_discards_nothing(
        self, monkeypatch: pytest.MonkeyPatch, answers: list[str]
    ) -> None:
        answering(monkeypatch, *answers)
        with pytest.raises(CommandError, match=r"^Nothing was discarded\.$"):
            replay("--discard")

        assert set(states().values()) == {"waiting"}

    def test_unasked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        questions = answering(monkeypatch)

        assert replay("--discard", "--no-input", "--limit", "1") == "1 discarded.\n"
        assert questions == []
        assert states() == {"a": "discarded", "b": "waiting"}

    def test_the_row_tells_who_did_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("getpass.getuser", lambda: "ada")
        replay("--discard", "--no-input")

        assert {row.settled_by.partition("@")[0] for row in rows()} == {"ada"}

    def test_as_json(self) -> None:
        assert json.loads(replay("--discard", "--no-input", "--json")) == {"discarded": 2}


class TestFiles:
    def test_out_and_back(self, tmp_path: Path) -> None:
        store(foreign("c", body=b"\xff\x00"))
        file = tmp_path / "dead letters"
        before = [each[1:] for each in exported_columns()]

        assert replay("--export", str(file)) == f"3 exported to {file}; they still wait.\n"
        assert set(states().values()) == {"waiting"}
        DeadLetter.objects.filter(event_id__in=["a", "c"]).delete()
        assert replay("--import", str(file)) == "2 imported; the others are there already.\n"
        assert sorted(each[1:] for each in exported_columns()) == sorted(before)

    def test_only_those_chosen(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        replay("--export", str(file), "--error", "KeyError")

        assert [json.loads(line)["event_id"] for line in file.read_text().splitlines()] == ["b"]

    def test_as_json(self, tmp_path: Path) -> None:
        file = str(tmp_path / "file")

        assert json.loads(replay("--export", file, "--json")) == {"exported": 2}
        assert json.loads(replay("--import", file, "--json")) == {"imported": 0}

    def test_a_file_that_is_there_stays_as_it_is(self, tmp_path: Path) -> None:
        file = tmp_path / "file"
        file.write_text("precious")
        with pytest.raises(CommandError, match=r"cannot be written: .*exists"):
            replay("--export", str(file))

        assert file.read_text() == "precious"
        assert set(states().values()) == {"waiting"}

    def test_half_of_an_export_is_not_left(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "file"
        once = iter([{"event_id": "a"}])

        def to_object(row: DeadLetter) -> dict[str, str]:
            try:
                return next(once)
            except StopIteration:
                raise KeyboardInterrupt from None

        monkeypatch.setattr(files, "to_object", to_object)
        with pytest.raises(KeyboardInterrupt):
            replay("--export", str(file))

        assert not file.exists()

    @pytest.mark.parametrize(
        ("option", "told"), [("--export", "cannot be written"), ("--import", "cannot be read")]
    )
    def test_a_folder_that_is_not_there(self, tmp_path: Path, option: str, told: str) -> None:
        with pytest.raises(CommandError, match=told):
            replay(option, str(tmp_path / "nowhere" / "file"))

    @pytest.mark.parametrize(
        ("contents", "told"),
        [
            (b"precious\n", "Line 1 is no exported dead letter: it is not JSON"),
            (b"\n{}\n", "Line 2 is no exported dead letter: it lacks body"),
            (b"\xff", "cannot be read"),
        ],
        ids=["text", "object", "bytes"],
    )
    def test_a_file_that_is_none_of_ours(self, tmp_path: Path, contents: bytes, told: str) -> None:
        file = tmp_path / "file"
        file.write_bytes(contents)
        with pytest.raises(CommandError, match=told):
            replay("--import", str(file))

        assert len(rows()) == 2


def exported_columns() -> list[tuple[Any, ...]]:
    return [
        (row.pk, row.identity, bytes(row.body), row.failed_at, row.properties, row.traceback)
        for row in rows()
    ]
