"""The provider that the ledger's tests ask."""

from collections.abc import Iterator

import pytest

from tests.serving.provider import Provider, serving, shouting


@pytest.fixture
def provider() -> Iterator[Provider]:
    with serving(shouting) as provider:
        yield provider
