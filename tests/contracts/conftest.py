"""What only the tests of the contract need of their world."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from anyio.from_thread import BlockingPortal

from tests.conftest import Databases, Packages
from tests.support import contract_importers as importers
from tests.support.world import Catalogue, World


@pytest.fixture
def clone(portal: BlockingPortal, databases: Databases) -> Iterator[Callable[[Catalogue], Catalogue]]:
    """Make a database that is the same as another one is now."""
    with ExitStack() as made:

        def cloned(original: Catalogue) -> Catalogue:
            original.leave()
            url = databases.copy(original.url)
            made.callback(databases.drop, url)
            return Catalogue(portal, url)

        yield cloned


@pytest.fixture
def third_party(packages: Packages, world: World) -> Iterator[Callable[[str], None]]:
    """Install an importer of tests.support.contract_importers, or of anywhere, and make the source one of its type."""

    def install(name: str) -> None:
        packages.install("thirdparty", thirdparty=name if ":" in name else f"tests.support.contract_importers:{name}")
        world.catalogue.rows(
            "UPDATE source SET type = 'thirdparty', external_id = 'thirdparty-00000000', config = '{}',"
            " credentials = '{}'"
        )
        world.catalogue.rows("UPDATE path_mapping SET source_prefix = '/data'")

    importers.RAN.clear()
    yield install
    importers.RAN.clear()


@pytest.fixture
def test_catalogue(world: World, clone: Callable[[Catalogue], Catalogue]) -> Catalogue:
    """A test database that knows the same source."""
    copy = clone(world.catalogue)
    copy.rows("UPDATE catalogue_role SET role = 'test'")
    world.cli.environment["RETROVUE_TEST_DATABASE_URL"] = copy.url
    return copy
