import concurrent.futures
import threading

import pytest
import socketbroker
from fake_broker import Attachments, FakeBroker
from socketbroker import service as service_module


@pytest.fixture
def broker():
    with FakeBroker() as fake:
        yield fake


@pytest.fixture
def client(broker):
    with socketbroker.Client(broker.address) as client:
        yield client


@pytest.fixture
def attachments(broker):
    result = Attachments()
    broker.on("Attach", result)
    return result


@pytest.fixture
def run():
    """Runs services, and returns the future of what run() does."""
    running = []

    def run(service):
        end = concurrent.futures.Future()

        def serve():
            try:
                end.set_result(service.run())
            except BaseException as fault:
                end.set_exception(fault)

        threading.Thread(target=serve, daemon=True).start()
        running.append((service, end))
        return end

    yield run
    for service, end in running:
        service.drain()
        service.drain()
        concurrent.futures.wait([end], timeout=10)


@pytest.fixture
def waits(monkeypatch):
    """The bounds of every wait between two attachments, which take no time."""
    result = []
    monkeypatch.setattr(service_module.random, "uniform", lambda low, high: result.append((low, high)) or 0)
    return result
