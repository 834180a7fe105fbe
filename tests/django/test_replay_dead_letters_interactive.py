"""``replay_dead_letters --interactive``: one after the other, with a person who decides."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from domain_event_broker.django import dead_letters
from domain_event_broker.django.dead_letters import Selection
from domain_event_broker.django.registry import Registry

from .answers import answering
from .command_runs import Failing, replay
from .dead_letters.letters import (
    body_of,
    declare,
    delivered,
    foreign,
    letter,
    only_row,
    states,
    store,
    transport,
)
from .marks import both_databases

pytestmark = both_databases

Editor = Callable[[str], None]


@pytest.fixture(autouse=True)
def _bill(handlers: Registry) -> None:
    Failing("bill")
    declare("bill")


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    """The person's editor is a program of these lines; the file is `file`."""

    def use(program: str) -> None:
        script = tmp_path / "the editor.py"
        script.write_text(
            f"import sys\nfrom pathlib import Path\nfile = Path(sys.argv[1])\n{program}\n"
        )
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", f"{sys.executable} '{script}'")

    return use


def run(monkeypatch: pytest.MonkeyPatch, *answers: str, arguments: tuple[str, ...] = ()) -> str:
    answering(monkeypatch, *answers)
    return replay("--interactive", *arguments)


def last_line(output: str) -> str:
    return output.splitlines()[-1]


class TestAnswers:
    def test_each_is_decided_on_by_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store(letter("a"), letter("b"), letter("c"), letter("d"))
        output = run(monkeypatch, "r", "d", "l", "q")

        assert states() == {"a": "replayed", "b": "discarded", "c": "waiting", "d": "waiting"}
        assert last_line(output) == "1 replayed, 1 discarded, 2 left"
        assert [message.message_id for message in delivered()] == ["a"]

    def test_what_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store(letter("a"))
        questions = answering(monkeypatch, "l")
        replay("--interactive")

        assert questions == ["[r]eplay, [d]iscard, [l]eave, [e]dit or [q]uit? "]

    def test_words_in_any_case(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store(letter("a"), letter("b"))

        assert (
            last_line(run(monkeypatch, " Replay", "DISCARD")) == "1 replayed, 1 discarded, 0 left"
        )

    def test_anything_else_is_asked_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store(letter("a"))

        assert last_line(run(monkeypatch, "", "x", "?", "r")) == "1 replayed, 0 discarded, 0 left"

    def test_where_nobody_is_there_any_more_the_rest_stays(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store(letter("a"), letter("b"), letter("c"))

        assert last_line(run(monkeypatch, "d")) == "0 replayed, 1 discarded, 2 left"
        assert states() == {"a": "discarded", "b": "waiting", "c": "waiting"}

    def test_ctrl_c_leaves_the_rest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(question: str) -> str:
            raise KeyboardInterrupt

        store(letter("a"))
        monkeypatch.setattr("builtins.input", interrupt)
        with pytest.raises(KeyboardInterrupt):
            replay("--interactive")

        assert states() == {"a": "waiting"}


class TestChosen:
    def test_only_those_that_match(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store(letter("a"), letter("b", error_type="KeyError"), letter("c", error_type="KeyError"))
        run(monkeypatch, "d", "d", arguments=("--error", "KeyError", "--limit", "1"))

        assert states() == {"a": "waiting", "b": "discarded", "c": "waiting"}

    def test_what_comes_meanwhile_is_not_asked_about(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def ask(question: str) -> str:
            store(letter("later"))
            return "l"

        store(letter("a"))
        monkeypatch.setattr("builtins.input", ask)

        assert last_line(replay("--interactive")) == "0 replayed, 0 discarded, 1 left"

    def test_what_somebody_else_decides_on_meanwhile(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def ask(question: str) -> str:
            dead_letters.discard(Selection(), "eve")
            return "r"

        (_, second) = store(letter("a"), letter("b"))
        monkeypatch.setattr("builtins.input", ask)
        output = replay("--interactive")

        assert f"{second}: somebody else has decided on it meanwhile." in output
        assert states() == {"a": "discarded", "b": "discarded"}
        assert last_line(output) == "0 replayed, 0 discarded, 0 left"

    def test_a_handler_without_a_queue_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store(letter("a"), handler="gone")
        output = run(monkeypatch, "r", arguments=("gone",))

        assert "It stays. The handler 'gone' has no queue to replay to" in output
        assert last_line(output) == "0 replayed, 0 discarded, 1 left"
        assert states() == {"a": "waiting"}


class TestShown:
    def test_error_and_payload(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store(letter("a"), letter("b"))
        told = run(monkeypatch, "l", "l").splitlines()

        assert told[1] == "1 of 2"
        assert "2 of 2" in told
        assert '  payload     {"number": 1}' in told
        assert "  shop.errors.Bad: not yet" in told

    def test_payloads_as_the_project_redacts_them(
        self, broker: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def hide(routing_key: str, data: Any) -> str:
            return "(hidden)"

        settings.DOMAIN_EVENT_BROKER = {"URL": broker, "REDACT_PAYLOAD": hide}
        store(foreign("a", body=body_of("a", data={"card": "1234"})))
        output = run(monkeypatch, "l")

        assert "(hidden)" in output
        assert "1234" not in output


class TestEdit:
    def test_what_was_changed_waits_and_is_asked_about_again(
        self, monkeypatch: pytest.MonkeyPatch, editor: Editor
    ) -> None:
        editor("file.write_text(file.read_text().replace('\"number\": 1', '\"number\": 2'))")
        store(letter("a"))
        output = run(monkeypatch, "e", "r")

        assert "Changed. It still waits." in output
        assert json.loads(delivered()[0].body)["data"] == {"number": 2}

    def test_the_editor_sees_it_in_lines(
        self, monkeypatch: pytest.MonkeyPatch, editor: Editor, tmp_path: Path
    ) -> None:
        seen = tmp_path / "seen"
        editor(
            f"Path({str(seen)!r}).write_text(f'{{file.stat().st_mode:o}}\\n' + file.read_text())"
        )
        store(foreign("a", body=body_of("a", data={"name": "é"})))
        run(monkeypatch, "e", "l")

        mode, *text = seen.read_text().splitlines()
        assert mode == "100600"
        assert '    "name": "é"' in text

    @pytest.mark.parametrize(
        ("program", "told"),
        [
            ("file.write_text('{')", "Not changed: the body is not JSON"),
            ("file.write_text('{}')", "Not changed: uuid_string must stay"),
            ("sys.exit(1)", "Not changed: The editor failed: "),
            ("file.write_bytes(b'\\xff')", "Not changed: "),
        ],
    )
    def test_what_is_no_event_changes_nothing(
        self, monkeypatch: pytest.MonkeyPatch, editor: Editor, program: str, told: str
    ) -> None:
        editor(program)
        store(letter("a"))
        before = bytes(only_row().body)
        output = run(monkeypatch, "e", "l")

        assert told in output
        assert bytes(only_row().body) == before

    def test_without_an_editor(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VISUAL", "/no/such/editor")
        store(letter("a"))

        assert "Not changed: The editor failed: " in run(monkeypatch, "e", "l")

    def test_one_that_is_no_text(self, monkeypatch: pytest.MonkeyPatch, editor: Editor) -> None:
        editor("file.write_text(file.read_text())")
        store(foreign("a", body=b"\xff{"))

        assert "Not changed: the body is not JSON" in run(monkeypatch, "e", "l")
        assert bytes(only_row().body) == b"\xff{"


@pytest.mark.parametrize(
    "body",
    [b"\xff", b"[" * 100_000, b'{"data": "\\ud800"}', b'"' + b"x" * 10_000, b"1" * 10_000, b""],
    ids=["bytes", "nested", "surrogate", "half", "digits", "nothing"],
)
def test_whatever_it_is_it_is_shown_and_edited(
    monkeypatch: pytest.MonkeyPatch, editor: Editor, body: bytes
) -> None:
    editor("assert file.exists()")
    store(foreign("a", body=body))

    assert "Not changed: the body " in run(monkeypatch, "e", "l")


def test_nothing_is_held_while_somebody_thinks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others collect, replay and discard as they like."""

    def ask(question: str) -> str:
        with transport().dead_letters("bill") as box:
            assert box.count() == 0
        assert dead_letters.replay(Selection(ids=[second]), transport().settings, "eve").count == 1
        return "r"

    first, second = store(letter("a"), letter("b"))
    monkeypatch.setattr("builtins.input", ask)
    replay("--interactive", "--id", str(first))

    assert states() == {"a": "replayed", "b": "replayed"}
