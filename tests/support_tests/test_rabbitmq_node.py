"""The private RabbitMQ node is itself tested, since every broker test trusts it."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pika
import pika.exceptions
import pytest

from tests.support.rabbitmq import RabbitmqNode, speaks_amqp
from tests.support.releases import Release
from tests.support.waiting import wait_until

QUORUM = {"x-queue-type": "quorum"}


@pytest.fixture(scope="module")
def node(rabbitmq_release: Release) -> Iterator[RabbitmqNode]:
    with RabbitmqNode(rabbitmq_release, {"max_message_size": "4096"}) as running:
        yield running


def publish(url: str, queue: str, body: bytes, arguments: dict[str, str] | None = None) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare(queue, durable=True, arguments=arguments)
        persistent = pika.BasicProperties(delivery_mode=2)
        channel.basic_publish("", queue, body, persistent, mandatory=True)


def get(url: str, queue: str) -> bytes | None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        method, _, body = connection.channel().basic_get(queue, auto_ack=True)
        return bytes(body) if method else None


def test_a_fresh_vhost_takes_and_gives_a_message(
    rabbitmq: RabbitmqNode, broker_url: str, broker_vhost: str
) -> None:
    publish(broker_url, "orders", b"placed")
    assert rabbitmq.message_count(broker_vhost, "orders") == 1
    assert get(broker_url, "orders") == b"placed"
    assert rabbitmq.message_count(broker_vhost, "orders") == 0


def test_the_management_api_shows_what_a_vhost_holds(
    rabbitmq: RabbitmqNode, broker_url: str, broker_vhost: str
) -> None:
    with pika.BlockingConnection(pika.URLParameters(broker_url)) as connection:
        channel = connection.channel()
        channel.exchange_declare("shop events", "topic", durable=True)
        channel.queue_declare("a/b", durable=True)
        channel.queue_bind("a/b", "shop events", "order.*")
    assert [queue["name"] for queue in rabbitmq.queues(broker_vhost)] == ["a/b"]
    assert "shop events" in [each["name"] for each in rabbitmq.exchanges(broker_vhost)]
    keys = {each["routing_key"] for each in rabbitmq.bindings(broker_vhost, "a/b")}
    assert keys == {"order.*", "a/b"}
    assert rabbitmq.queue(broker_vhost, "missing") is None


def test_counts_in_the_management_api_are_soon_fresh(
    rabbitmq: RabbitmqNode, broker_url: str, broker_vhost: str
) -> None:
    publish(broker_url, "classic", b"1")
    publish(broker_url, "quorum", b"1", QUORUM)

    def counts() -> list[object]:
        return [queue.get("messages") for queue in rabbitmq.queues(broker_vhost)]

    wait_until(lambda: counts() == [1, 1], 5, lambda: f"counts stayed {counts()}")


def test_connections_of_one_vhost_can_be_closed(
    rabbitmq: RabbitmqNode, broker_url: str, broker_vhost: str
) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    wait_until(lambda: rabbitmq.connections(broker_vhost), message="connection never listed")
    assert rabbitmq.close_connections(broker_vhost) == 1
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker):
        connection.process_data_events(time_limit=30)


@pytest.mark.parametrize("arguments", [{}, QUORUM], ids=["classic", "quorum"])
def test_a_killed_node_keeps_confirmed_messages(
    node: RabbitmqNode, arguments: dict[str, str]
) -> None:
    url = node.new_vhost()
    publish(url, "orders", b"placed", arguments)
    node.sync_new_queues()
    node.kill()
    assert not node.is_running
    with pytest.raises(pika.exceptions.AMQPConnectionError):
        publish(url, "orders", b"refused")
    node.start()
    body = wait_until(lambda: get(url, "orders"), message="the message is gone")
    assert body == b"placed"


@pytest.mark.parametrize("round_number", [1, 2])
def test_a_restartable_node_runs_at_the_start_of_each_test(
    restartable_rabbitmq: RabbitmqNode, round_number: int
) -> None:
    assert speaks_amqp(restartable_rabbitmq.port), f"not running in round {round_number}"
    restartable_rabbitmq.kill()


def test_a_frozen_node_goes_on_where_it_was(node: RabbitmqNode) -> None:
    url = node.new_vhost()
    with node.frozen():
        assert node.is_running
        assert not speaks_amqp(node.port)
    publish(url, "orders", b"placed")


def test_configuration_reaches_the_node(node: RabbitmqNode) -> None:
    url = node.new_vhost()
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match=r"max(imum)? size|larger than"):
        publish(url, "orders", b"x" * 5000)


def test_rabbitmqctl_reaches_the_node(node: RabbitmqNode) -> None:
    assert node.release in node.rabbitmqctl("version")
    assert node.name in node.rabbitmqctl("status")
    with pytest.raises(AssertionError, match="no_such_command"):
        node.rabbitmqctl("no_such_command")


def test_nothing_is_left_after_stop_and_close(
    private_rabbitmq: Callable[..., RabbitmqNode],
) -> None:
    node = private_rabbitmq()
    folder = node.log_path.parent.parent
    assert processes_of(node)
    node.stop()
    assert not node.is_running
    node.close()
    assert not folder.exists()
    wait_until(lambda: not processes_of(node), message=lambda: f"left: {processes_of(node)}")


def processes_of(node: RabbitmqNode) -> list[str]:
    """Return the names of all processes that were started for `node`, epmd included."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may end meanwhile
            if node.name.encode() in environment_of(process):
                found.append((process / "comm").read_text().strip())
    return found


def environment_of(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes()
    except OSError:  # it ended meanwhile, or is another user's
        return b""


def test_processes_are_told_apart_by_their_environment() -> None:
    assert environment_of(Path(f"/proc/{os.getpid()}"))
