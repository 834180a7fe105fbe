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

    An event may be delivered more than once, so what was done already is not done again.
    """
    product = event.data["product"]
    if product not in settings.SHOP_WAREHOUSES:
        raise UnknownWarehouse(product)
    Reservation.objects.get_or_create(
        order=Order.objects.get(pk=event.data["order"]),
        defaults={"warehouse": settings.SHOP_WAREHOUSES[product]},
    )
