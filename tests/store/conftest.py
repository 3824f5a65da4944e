"""The books of books.py, written once and then shared or copied."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from .books import Books, write_books
from .desk import reconcile_bank


@pytest.fixture(scope="session")
def books_url(server_url: str, template: str) -> Iterator[str]:
    """The owner's address of a database with the books in it. It must stay as it is."""
    name = f"ledgers_books_{uuid4().hex[:12]}"
    origin = str(conninfo_to_dict(template)["dbname"])
    create = SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(origin))
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(create)
        yield make_conninfo(server_url, dbname=name)
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture(scope="session")
def books(books_url: str) -> Books:
    """What is what in the books."""
    return asyncio.run(_write(books_url))


async def _write(url: str) -> Books:
    books = await write_books(url)
    await reconcile_bank(url, books)
    return books
