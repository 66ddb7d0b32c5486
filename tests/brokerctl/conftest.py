import pytest
from fake_broker import FakeBroker


@pytest.fixture
def broker():
    with FakeBroker() as fake:
        yield fake
