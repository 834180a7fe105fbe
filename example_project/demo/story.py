"""A day in the shop, act by act; then what was published is compared with what was handled."""

from __future__ import annotations

from domain_event_broker import publish_domain_event
from domain_event_broker.django.registry import registry
from example_project.reporting.models import AuditEntry
from example_project.shop.models import Order, Reservation
from tests.support.waiting import wait_until

from .customers import Answer, Shop
from .evidence import (
    Published,
    dead_letters,
    logged_event_ids,
    mails,
    stored_event_ids,
    tally,
)
from .printing import heading, quote, say, table
from .processes import DemoError, run
from .stage import Stage
from .subscriber import HANDLED, HANDLED_BEFORE, HANDLING_TIMEOUT_SECONDS, Subscriber

WEB_SERVER = "manage.py runserver --noreload 127.0.0.1:0"
FAILING_HANDLER = "shop.reserve_stock"
REPLAY = f"manage.py replay_dead_letters {FAILING_HANDLER}"
CORRECTED_WAREHOUSES = "book=north,pen=south,lamp=east"
CREATED, PAYMENT_REQUIRED = 201, 402


class Story:
    """The acts, to be played in order. Each raises if it goes otherwise than told."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        # First of all: an event that is published before any queue is there reaches nobody.
        self._subscriber = Subscriber(stage)
        server = stage.serve(WEB_SERVER)
        self._shop = Shop(server.wait_for(r"http://127\.0\.0\.1:\d+(?=/)").group())
        self._published: list[Published] = []

    def tell(self) -> bool:
        """Play it; return whether all that was published was handled, and nothing else."""
        self._introduce()
        heading("Customers register and place orders, by HTTP requests")
        customers = [self._register(number) for number in (1, 2, 3)]
        failing = self._place_orders(customers)
        heading("An order is rolled back, and its event with it")
        self._roll_back(customers[0])
        heading("The handlers do their work")
        self._show_handling(failing)
        heading("An event comes twice: it takes effect once")
        self._send_again(self._published[0])
        heading("One order cannot be handled: it is retried, then dead-lettered")
        self._show_failure(failing)
        heading("The setting is corrected, and the dead letter replayed")
        self._correct_and_replay(failing)
        heading("What was published, and what was handled")
        return self._compare()

    def _introduce(self) -> None:
        heading("The shop opens")
        say(f"Broker      {self._stage.broker}")
        say("Database    SQLite, migrated, in a temporary folder")
        say(f"Web server  {self._shop.url} (manage.py runserver)")
        say("Subscriber  manage.py run_subscriber, with these handlers and what they are bound to:")
        table([(h.name, ", ".join(h.binding_keys)) for h in registry.handlers()])

    def _register(self, number: int) -> int:
        """Register a customer; return its id."""
        email = f"customer-{number}@example.com"
        answer = self._shop.register(f"Customer {number}", email)
        self._note("user.registered", answer, f"POST /register/  {email}")
        return int(answer.body["customer"])

    def _place_orders(self, customers: list[int]) -> Published:
        """Order three things; return the event of the one that cannot be handled yet."""
        events = []
        for customer, product in zip(customers, ("book", "lamp", "pen"), strict=True):
            answer = self._shop.order(customer, product, quantity=1, card="valid")
            said = f"POST /orders/    customer {customer}, a {product}"
            events.append(self._note("order.placed", answer, said))
        say("No warehouse is known for lamps yet.")
        return events[1]

    def _roll_back(self, customer: int) -> None:
        orders = Order.objects.count()
        answer = self._shop.order(customer, "book", quantity=1, card="declined")
        _expect(answer, PAYMENT_REQUIRED)
        say(f"POST /orders/    with a bad card          {answer.status}  {answer.body['error']}")
        if Order.objects.count() != orders:
            raise DemoError("The declined order was saved.")
        if stored_event_ids() - {event.event_id for event in self._published}:
            raise DemoError("The event of the declined order was saved.")
        say("Order and event were written in one transaction. Neither has left a row.")

    def _show_handling(self, failing: Published) -> None:
        rows = []
        for event in self._published:
            expected = {handler.name for handler in event.handlers()}
            if event == failing:
                expected.remove(FAILING_HANDLER)
            self._subscriber.wait_for(event, HANDLED, expected)
            functions = sorted(name.rpartition(".")[2] for name in expected)
            rows.append((event.routing_key, event.short_id, f"handled by {', '.join(functions)}"))
        table(rows)
        say("The mails that were sent:")
        table([("To " + mail["To"], mail["Subject"]) for mail in mails()])

    def _send_again(self, event: Published) -> None:
        entry = AuditEntry.objects.get(event_id=event.event_id)
        publish_domain_event(
            event.routing_key,
            entry.data,
            uuid_string=event.event_id,
            timestamp=entry.happened_at.timestamp(),
            connection_settings=self._stage.broker_url,
        )
        say(f"{event.routing_key} {event.short_id} is sent again: the same event, the same id.")
        self._subscriber.wait_for(event, HANDLED_BEFORE, {h.name for h in event.handlers()})
        say("The subscriber wrote:")
        quote(self._subscriber.lines_of(event, ending=HANDLED_BEFORE))
        say(f"Mails that were sent: still {len(mails())}.")

    def _show_failure(self, failing: Published) -> None:
        (dead_letter,) = wait_until(
            lambda: dead_letters(FAILING_HANDLER),
            HANDLING_TIMEOUT_SECONDS,
            "the failing event was not dead-lettered",
        )
        if dead_letter.event_id != failing.event_id:
            raise DemoError("Another event than the failing one was dead-lettered.")
        say("The subscriber wrote:")
        quote(self._subscriber.lines_of(failing, handler=FAILING_HANDLER))
        say("The dead letter, in its table:")
        table(
            [
                ("event", f"{dead_letter.routing_key} {failing.short_id}"),
                ("handler", dead_letter.handler),
                ("reason", dead_letter.reason),
                ("attempts", str(dead_letter.attempts)),
                ("error", dead_letter.error_type.rpartition(".")[2]),
                ("message", dead_letter.error_message),
                ("raised at", dead_letter.error_place),
            ]
        )

    def _correct_and_replay(self, failing: Published) -> None:
        self._subscriber.stop()
        self._subscriber = Subscriber(self._stage, SHOP_WAREHOUSES=CORRECTED_WAREHOUSES)
        say(f"The subscriber runs again, with SHOP_WAREHOUSES={CORRECTED_WAREHOUSES}")
        say(f"$ {REPLAY}")
        quote(run(REPLAY).splitlines())
        self._subscriber.wait_for(failing, HANDLED, {FAILING_HANDLER})
        say("The subscriber wrote:")
        quote(self._subscriber.lines_of(failing, handler=FAILING_HANDLER))
        say("What is reserved now:")
        table([(str(reservation),) for reservation in Reservation.objects.order_by("order_id")])

    def _compare(self) -> bool:
        self._subscriber.stop()
        tallies = tally(self._published)
        rows = [(t.handler, t.published, t.handled, t.dead_letters) for t in tallies]
        table([("handler", "published", "handled", "dead letters"), *rows])
        say(
            f"{len(self._published)} events were published, "
            f"to be handled {sum(t.published for t in tallies)} times in all; "
            f"they took effect {sum(t.handled for t in tallies)} times."
        )
        is_even = all(t.is_even for t in tallies)
        has_no_other = logged_event_ids() == {event.event_id for event in self._published}
        if not is_even:
            say("What was published and what was handled differ!")
        elif has_no_other:
            say("The audit log, which is bound to every event, has these and no others.")
        else:
            say("The audit log has other events than those that were published!")
        return is_even and has_no_other

    def _note(self, routing_key: str, answer: Answer, said: str) -> Published:
        """Remember what the shop's answer says that it published."""
        _expect(answer, CREATED)
        event = Published(routing_key, answer.body["event"])
        self._published.append(event)
        say(f"{said:<40}  {answer.status}  published {routing_key} {event.short_id}")
        return event


def _expect(answer: Answer, status: int) -> None:
    if answer.status != status:
        raise DemoError(f"The shop answered {answer.status}, not {status}: {answer.body}")
