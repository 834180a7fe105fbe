"""Who buys, what was bought, and where it will be taken from."""

from typing import Any

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=100)
    email = models.EmailField(unique=True)

    def __str__(self) -> str:
        return self.name

    def as_event_data(self) -> dict[str, Any]:
        """What other services may know of a customer."""
        return {"name": self.name, "email": self.email}


class Order(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="orders")
    product = models.SlugField()
    quantity = models.PositiveSmallIntegerField(
        validators=[MinValueValidator(1), MaxValueValidator(1000)]
    )

    def __str__(self) -> str:
        return f"order {self.pk}: {self.quantity} of {self.product}"

    def as_event_data(self) -> dict[str, Any]:
        """What other services may know of an order."""
        return {
            "order": self.pk,
            "customer": self.customer_id,
            "product": self.product,
            "quantity": self.quantity,
        }


class Reservation(models.Model):
    """Stock that a warehouse keeps for an order: made by the handler of ``order.placed``."""

    order = models.OneToOneField(Order, on_delete=models.CASCADE)
    warehouse = models.CharField(max_length=50)

    def __str__(self) -> str:
        return f"{self.order} from warehouse {self.warehouse}"
