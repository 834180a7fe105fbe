"""Marks that several test modules share."""

import pytest

#: For tests whose threads use the databases: commits are real, and undone by emptying the tables.
both_databases = pytest.mark.django_db(transaction=True, databases=["default", "other"])
