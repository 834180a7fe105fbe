"""What the views accept: a form checks it before anything is written or published."""

from django import forms

from .models import Customer, Order


class RegistrationForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Customer
        fields = ("name", "email")


class OrderForm(forms.ModelForm):  # type: ignore[type-arg]
    card = forms.CharField(max_length=50)

    class Meta:
        model = Order
        fields = ("customer", "product", "quantity")
