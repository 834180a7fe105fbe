"""What happened in a shop, in figures."""

from __future__ import annotations

from .project import Shop, events_in


def figures_of(shop: Shop) -> str:
    """All that happened in it so far."""
    committed = shop.committed()
    attempted = events_in(shop.ledgers.attempts)
    deliveries = [tuple(each.values()) for each in shop.ledgers.deliveries.read()]
    verdict = shop.verdict()
    figures = {
        "committed": len(committed),
        "rolled back": len(attempted - committed.keys()),
        "kills": shop.kills,
        "lost": len(verdict.lost),
        "spurious": len(verdict.spurious),
        "doubles": len(verdict.doubles),
        "dead letters": len(shop.dead_letters()),
        "handler starts": len(shop.ledgers.starts.read()),
        "deliveries": len(deliveries),
        # Beyond the first of an event, or of its retry, to a handler, whether that ran or not.
        "duplicates": len(deliveries) - len(set(deliveries)),
    }
    return ", ".join(f"{name} {count}" for name, count in figures.items())
