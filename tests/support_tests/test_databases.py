"""The project's databases in tests: who is marked to use them, and that threads may share them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections, transaction
from django.test import SimpleTestCase, TestCase

from example_project.shop.models import Customer
from tests.support.threads import start_thread

THREADS = 4
ROUNDS = 25


def is_marked(request: pytest.FixtureRequest, name: str = "database") -> bool:
    return request.node.get_closest_marker(name) is not None


@pytest.mark.django_db
def test_one_with_django_s_marker_is_marked(request: pytest.FixtureRequest) -> None:
    assert is_marked(request)


def test_one_with_the_fixture_is_marked(request: pytest.FixtureRequest, db: None) -> None:
    assert is_marked(request)


def test_one_whose_fixture_needs_it_is_marked(
    request: pytest.FixtureRequest, customers: list[Customer]
) -> None:
    assert is_marked(request)


@pytest.fixture
def customers(transactional_db: None) -> list[Customer]:
    return list(Customer.objects.all())


def test_another_is_not_marked(request: pytest.FixtureRequest) -> None:
    assert not is_marked(request)
    assert not is_marked(request, "postgresql")


def test_one_that_needs_postgresql_is_marked_so(
    request: pytest.FixtureRequest, postgresql_url: str
) -> None:
    assert is_marked(request, "postgresql")
    assert not is_marked(request)


class MarkedTests(TestCase):
    @pytest.fixture(autouse=True)
    def marked(self, request: pytest.FixtureRequest) -> None:
        self.is_marked = is_marked(request)

    def test_django_s_are_marked(self) -> None:
        assert self.is_marked


class SimpleTests(SimpleTestCase):
    @pytest.fixture(autouse=True)
    def marked(self, request: pytest.FixtureRequest) -> None:
        self.is_marked = is_marked(request)

    def test_those_without_a_database_are_not(self) -> None:
        assert not self.is_marked


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_threads_write_at_once() -> None:
    def write(thread: int) -> None:
        try:
            for number in range(ROUNDS):
                name = f"{thread}-{number}"
                for alias in connections:
                    with transaction.atomic(using=alias):
                        Customer.objects.using(alias).create(name=name, email=f"{name}@example.com")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(write, range(THREADS)))

    for alias in connections:
        assert Customer.objects.using(alias).count() == THREADS * ROUNDS


@pytest.mark.django_db(transaction=True)
def test_a_thread_reads_while_another_writes() -> None:
    def count() -> int:
        try:
            return Customer.objects.count()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as threads, transaction.atomic():
        Customer.objects.create(name="Ada", email="ada@example.com")
        assert threads.submit(count).result(30) == 0
    assert Customer.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_thread_leaves_no_connection_open() -> None:
    used = []

    def count() -> None:
        Customer.objects.count()
        used.append(connections["default"])

    start_thread(count).join(30)

    assert [each.connection for each in used] == [None]
