"""``prune_domain_events``: what is settled and old goes, and nothing else."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections
from pytest_django import Settings

from domain_event_broker.django import pruning
from domain_event_broker.django.dialects import FromNow
from domain_event_broker.django.inbox import record
from domain_event_broker.django.inserting import write_to_queues
from domain_event_broker.django.models import DeadLetter, InboxEntry, Queue, QueuedMessage
from domain_event_broker.django.pruning import DAY_SECONDS, Pruned, prune

from .databases import unreachable, without_table
from .marks import both_databases
from .rows import DEFAULT, ENDED, LONG, message

pytestmark = both_databases


def note(*names: str, days_ago: float = 0.0, using: str = DEFAULT) -> None:
    """Inbox entries that are so old."""
    for name in names:
        pk = InboxEntry.objects.using(using).create(handler="bill", event_id=name).pk
        entry = InboxEntry.objects.using(using).filter(pk=pk)
        entry.update(handled_at=FromNow(-days_ago * DAY_SECONDS))


def noted(using: str = DEFAULT) -> list[str]:
    return list(InboxEntry.objects.using(using).order_by("pk").values_list("event_id", flat=True))


def letter(name: str, settled_days_ago: float | None = None) -> None:
    """A dead letter that waits, or that somebody decided on so long ago."""
    DeadLetter.objects.create(identity=name, handler="bill", event_id=name, body=b"{}")
    if settled_days_ago is not None:
        made = DeadLetter.objects.filter(identity=name)
        made.settle(DeadLetter.State.REPLAYED, by="somebody")
        made.update(settled_at=FromNow(-settled_days_ago * DAY_SECONDS))


def queue(name: str, expires_in: float | None) -> Queue:
    """With one message in it."""
    made = Queue.objects.create(name=name)
    if expires_in is not None:
        Queue.objects.filter(pk=made.pk).update(expires_at=FromNow(expires_in))
    write_to_queues([(made.pk, message(f"for {name}"))], connections["default"])
    return made


def run(*arguments: str, **options: Any) -> tuple[str, str]:
    stdout, stderr = StringIO(), StringIO()
    call_command("prune_domain_events", *arguments, stdout=stdout, stderr=stderr, **options)
    return stdout.getvalue(), stderr.getvalue()


class TestInbox:
    def test_entries_older_than_45_days_go(self) -> None:
        note("old", days_ago=45.01)
        note("young", days_ago=44.99)
        note("new")
        run()

        assert noted() == ["young", "new"]

    def test_or_than_one_says(self) -> None:
        note("old", days_ago=60)
        note("less old", days_ago=50)
        run("--older-than", "55")

        assert noted() == ["less old"]

    def test_in_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pruning, "BATCH", 3)
        note(*map(str, range(8)), days_ago=50)
        note("new")
        progress: list[int] = []
        pruned = prune(DEFAULT, 45, on_progress=progress.append)

        assert progress == [3, 6, 8]
        assert pruned.inbox_entries == 8
        assert noted() == ["new"]

    def test_it_may_be_broken_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pruning, "BATCH", 3)
        note(*map(str, range(8)), days_ago=50)
        pruned = prune(DEFAULT, 45, is_stopping=lambda: True)

        assert pruned.inbox_entries == 3
        assert noted() == ["3", "4", "5", "6", "7"]

    @pytest.mark.parametrize(("days", "warns"), [("30", True), ("0.5", True), ("31", False)])
    def test_a_retention_that_forgets_late_copies_is_warned_of(
        self, days: str, warns: bool
    ) -> None:
        _, stderr = run("--older-than", days)

        assert ("A copy of an event may come 30 days late" in stderr) is warns


class TestQueues:
    def test_those_whose_consumers_died_go_with_what_is_in_them(self) -> None:
        for name, expires_in in (("dead", ENDED), ("alive", LONG), ("lasting", None)):
            queue(name, expires_in)
        run()

        assert sorted(Queue.objects.values_list("name", flat=True)) == ["alive", "lasting"]
        assert QueuedMessage.objects.count() == 2

    def test_so_do_messages_whose_queue_is_gone(self) -> None:
        """They were published while it went."""
        gone = queue("gone", None)
        queue("lasting", None)
        Queue.objects.filter(pk=gone.pk)._raw_delete(DEFAULT)
        run()

        assert [m.event_id for m in QueuedMessage.objects.all()] == ["for lasting"]


class TestTelling:
    @pytest.fixture(autouse=True)
    def old(self) -> None:
        note("a", "b", days_ago=50)
        note("c", days_ago=50, using="other")
        queue("dead", ENDED)
        gone = queue("gone", None)
        Queue.objects.filter(pk=gone.pk)._raw_delete(DEFAULT)
        letter("replayed", settled_days_ago=50)
        letter("just discarded", settled_days_ago=40)
        letter("waiting")

    def test_what_was_removed(self) -> None:
        stdout, stderr = run()

        letters = DeadLetter.objects.order_by("pk").values_list("identity", flat=True)
        assert list(letters) == ["just discarded", "waiting"]

        assert stdout.splitlines() == [
            (
                "default: 2 inbox entries, 1 settled dead letters, 1 queues and 1 messages of none "
                "removed."
            ),
            (
                "other: 1 inbox entries, 0 settled dead letters, 0 queues and 0 messages of none "
                "removed."
            ),
        ]
        assert stderr == ""

    def test_what_would_be_and_is_not(self) -> None:
        stdout, _ = run("--dry-run", "--database", DEFAULT)

        assert stdout == (
            "default: 2 inbox entries, 1 settled dead letters, 1 queues and 1 messages of none "
            "would be removed.\n"
        )
        assert noted() == ["a", "b"]
        assert QueuedMessage.objects.count() == 2
        assert prune(DEFAULT, 45, is_dry_run=True) == Pruned(DEFAULT, 2, 1, 1, 1)

    def test_silently(self) -> None:
        assert run(verbosity=0) == ("", "")
        assert noted() == []

    def test_of_the_databases_that_are_named(self) -> None:
        run("--database", "other")

        assert (noted(), noted("other")) == (["a", "b"], [])

    def test_one_without_the_tables_is_left_out(self) -> None:
        with without_table(Queue, DEFAULT):
            stdout, _ = run()

        assert stdout.startswith("other: 1 inbox entries")
        assert noted() == ["a", "b"]


class TestRefusing:
    """One sentence, no traceback."""

    @pytest.mark.parametrize("days", ["0", "-1", "nan", "inf", "x"])
    def test_days_that_are_none(self, days: str) -> None:
        with pytest.raises(CommandError, match="is not a number of days above 0"):
            run("--older-than", days)

    def test_an_unknown_database(self) -> None:
        with pytest.raises(CommandError, match="There is no database 'nowhere'"):
            run("--database", "nowhere")

    def test_one_that_is_named_and_has_no_tables(self) -> None:
        with without_table(InboxEntry, "other"), pytest.raises(CommandError, match="migrate"):
            run("--database", "other")

    def test_one_that_is_away(self) -> None:
        with unreachable(DEFAULT), pytest.raises(CommandError, match=r"^The database 'default': "):
            run()

    def test_none_that_can_have_them(self, settings: Settings) -> None:
        settings.DATABASE_ROUTERS = ["tests.django.routers.Nowhere"]

        with pytest.raises(CommandError, match="No database of this project"):
            run()


def test_a_copy_that_comes_after_that_takes_effect_again() -> None:
    """What is forgotten is not known; hence the retention."""
    note("a", days_ago=50)
    assert not record("bill", "a", DEFAULT)
    run()

    assert record("bill", "a", DEFAULT)
