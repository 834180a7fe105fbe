"""One page: a request places an order."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path

from ..plans import Transaction
from .placing import place


def order(request: HttpRequest, key: str) -> HttpResponse:
    place(Transaction((key,)))
    return HttpResponse(status=201)


urlpatterns = [path("<key>", order)]
