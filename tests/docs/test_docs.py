"""What the pages name is there, and what they show works."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from importlib import import_module

import psycopg
import pytest
from django.core.management import get_commands

from .pages import ROOT, Page, all_pages

PAGES = all_pages()
SAMPLES = [(page, code) for page in PAGES for code in page.code("python")]
SAMPLE_SECONDS = 60


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_relative_links_lead_somewhere(page: Page) -> None:
    for link in page.links:
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        assert target.exists(), link
        if anchor:
            assert anchor in Page(str(target.relative_to(ROOT))).anchors, link


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (page.path.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in page.links
        if "://" not in link
    }
    docs = [page for page in PAGES if page.name.startswith("docs/")]
    assert [page.name for page in docs if page.path not in linked] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_files_of_the_project_that_are_named_exist(page: Page) -> None:
    named = re.findall(
        r"`((?:tests|scripts|example_project|domain_event_broker)/[\w./-]*)`", page.prose
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_make_targets_exist(page: Page) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    # In code only: "make sure" is no target.
    code = [*re.findall(r"`([^`\n]+)`", page.prose), *page.code("sh")]
    named = {name for text in code for name in re.findall(r"(?:^|\s)make ([a-z-]+)", text)}
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_that_are_named_exist(page: Page) -> None:
    code = [*re.findall(r"`([^`\n]+)`", page.prose), *page.code("sh")]
    named = {name for text in code for name in re.findall(r"manage\.py (\w+)", text)}
    assert named <= set(get_commands())


def test_each_logger_that_is_named_exists() -> None:
    page = Page("docs/how-to/run-in-production.md")
    for name in re.findall(
        r"^\| `(domain_event_broker[\w.]+?)(?:\.\.\.)?` \|", page.text, re.MULTILINE
    ):
        module = import_module(name)
        assert hasattr(module, "__path__") or isinstance(vars(module).get("log"), logging.Logger)


@pytest.mark.parametrize(("page", "code"), SAMPLES, ids=lambda value: str(value)[:40])
def test_samples_are_python(page: Page, code: str) -> None:
    code = code if not code.startswith(" ") else f"if True:\n{code}"
    compile(code, page.name, "exec")


@pytest.mark.parametrize("code", [c for _, c in SAMPLES if "memory://" in c and "django" not in c])
def test_samples_that_need_no_broker_run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=SAMPLE_SECONDS)


def test_queries_run(postgresql_url: str) -> None:
    subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity", "0"],
        env={**os.environ, "DATABASE_URL": postgresql_url},
        check=True,
        timeout=SAMPLE_SECONDS,
    )
    queries = [query for page in PAGES for query in page.code("sql")]
    with psycopg.connect(postgresql_url) as connection:
        for query in queries:
            connection.execute(query.encode())
    assert queries
