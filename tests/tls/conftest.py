"""How the tests of TLS run: as those of tests/net do, with certificates made for the run."""

from collections.abc import Iterator

import pytest

from tests.net.conftest import net, pytest_pyfunc_call
from tests.tls.certificates import Certificates, temporary

__all__ = ["certificates", "net", "pytest_pyfunc_call"]


@pytest.fixture(scope="session")
def certificates() -> Iterator[Certificates]:
    """One set for all tests; they only read it."""
    with temporary() as made:
        yield made
