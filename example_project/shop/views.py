"""Two views that change the database and tell of it, in one transaction.

They take form fields and answer with JSON, such as ``curl -d name=... -d email=... /register/``.
"""

from typing import Any

from django.db import transaction
from django.forms import BaseForm
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_POST

from domain_event_broker import publish_domain_event

from .forms import OrderForm, RegistrationForm
from .payments import CardDeclinedError, charge


@require_POST
def register(request: HttpRequest) -> JsonResponse:
    """Create a customer and publish ``user.registered``."""
    form = RegistrationForm(request.POST)
    if not form.is_valid():
        return bad_request(form)
    with transaction.atomic():
        customer = form.save()
        event = publish_domain_event(
            "user.registered", customer.as_event_data(), domain_object_id=str(customer.pk)
        )
    return JsonResponse({"customer": customer.pk, "event": event.uuid_string}, status=201)


@require_POST
def place_order(request: HttpRequest) -> JsonResponse:
    """Create an order, publish ``order.placed``, and charge the card.

    A declined card rolls the transaction back: there is no order, and nothing was published.
    """
    form = OrderForm(request.POST)
    if not form.is_valid():
        return bad_request(form)
    try:
        with transaction.atomic():
            order = form.save()
            event = publish_domain_event(
                "order.placed", order.as_event_data(), domain_object_id=str(order.pk)
            )
            charge(form.cleaned_data["card"])
    except CardDeclinedError as error:
        return JsonResponse({"error": str(error)}, status=402)
    return JsonResponse({"order": order.pk, "event": event.uuid_string}, status=201)


def bad_request(form: BaseForm) -> JsonResponse:
    """A sentence for each thing that is wrong with the form's fields."""
    problems = [
        f"{field}: {message}"
        for field, messages in form.errors.get_json_data().items()
        for message in _texts(messages)
    ]
    return JsonResponse({"error": " ".join(problems)}, status=400)


def _texts(messages: list[dict[str, Any]]) -> list[str]:
    return [message["message"] for message in messages]
