"""A stand-in for a payment provider."""

DECLINED_CARD = "declined"


class CardDeclinedError(Exception):
    """The provider refused to charge the card."""


def charge(card: str) -> None:
    """Charge `card`, or raise `CardDeclinedError`."""
    if card == DECLINED_CARD:
        raise CardDeclinedError("The card was declined; the order was not placed.")
