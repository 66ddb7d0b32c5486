import pytest
import socketbroker
from fake_broker import FakeBroker


@pytest.fixture
def broker():
    with FakeBroker() as fake:
        yield fake


@pytest.fixture
def client(broker):
    with socketbroker.Client(broker.address) as client:
        yield client
