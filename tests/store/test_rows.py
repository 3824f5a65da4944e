"""What reading gives is found in one place, which other tests measure."""

from importlib import import_module
from pkgutil import iter_modules

from app.store import rows
from app.store.reading import Listing, Lookup


def test_the_package_gives_all_that_its_modules_read() -> None:
    """No look-up and no listing of a module is left out, but for those of reconciliations."""
    of_modules = {
        name
        for module in iter_modules(rows.__path__, f"{rows.__name__}.")
        if module.name != "app.store.rows.reconciliation"
        for name, value in vars(import_module(module.name)).items()
        if isinstance(value, Lookup | Listing)
    }
    assert of_modules == {
        name for name, value in vars(rows).items() if isinstance(value, Lookup | Listing)
    }
