"""What the shop does when something happened. Found by its name, as each app's is."""

from django.conf import settings
from django.core.mail import send_mail

from domain_event_broker import DomainEvent, Retry
from domain_event_broker.django import domain_event_handler

from .models import Order, Reservation


class UnknownWarehouse(Retry):
    """A `Retry` that says why: its text becomes the dead letter's reason."""

    def __init__(self, product: str) -> None:
        super().__init__(delay=0.5)
        self.product = product

    def __str__(self) -> str:
        return f"No warehouse is known for {self.product!r}; add it to SHOP_WAREHOUSES."


# A mail cannot be rolled back. So here the inbox promises less than for `reserve_stock`: a copy of
# the event that comes later sends no second mail, but a process that dies between the mail and the
# commit leaves no note, and the mail is sent again. Besides, the transaction is open while the mail
# server answers: where that takes long, `inbox=False` and a mail too many may be the lesser evil.
@domain_event_handler("user.registered")
def send_welcome_mail(event: DomainEvent) -> None:
    send_mail(
        subject="Welcome to the shop",
        message=f"Hello {event.data['name']},\n\nthank you for registering.\n",
        from_email=None,
        recipient_list=[event.data["email"]],
    )


@domain_event_handler("order.placed", name="shop.reserve_stock", max_retries=2)
def reserve_stock(event: DomainEvent) -> None:
    """Reserve an order's goods where they are.

    An event may be delivered more than once. The function runs in one transaction with the note
    that it ran, and for a copy it is not called: it need not look for what was done already.
    """
    product = event.data["product"]
    if product not in settings.SHOP_WAREHOUSES:
        raise UnknownWarehouse(product)
    Reservation.objects.create(
        order=Order.objects.get(pk=event.data["order"]),
        warehouse=settings.SHOP_WAREHOUSES[product],
    )
