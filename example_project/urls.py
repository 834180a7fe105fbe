"""Where the shop's views are."""

from django.urls import path

from example_project.shop import views

urlpatterns = [
    path("register/", views.register, name="register"),
    path("orders/", views.place_order, name="place_order"),
]
