"""The pytest fixtures that start brokers."""

import os
import signal

import pytest

from harness.broker import Broker


@pytest.fixture
def start_broker(tmp_path_factory):
    """Starts brokers that must be alive at the end of the test, but for those killed, and end cleanly."""
    brokers = []

    def start(*arguments, **options):
        broker = Broker(tmp_path_factory.mktemp("broker"), *arguments, **options)
        brokers.append(broker)
        return broker

    yield start
    codes = [broker.stop() for broker in brokers]
    for broker, code in zip(brokers, codes):
        assert code == (-signal.SIGKILL if broker.killed else 0), f"exit code {code}:\n{broker.log()}"


@pytest.fixture
def frees_memory(monkeypatch):
    """Brokers that start under AddressSanitizer give back what they free, instead of keeping it aside."""
    monkeypatch.setenv("ASAN_OPTIONS", os.environ.get("ASAN_OPTIONS", "") +
                       ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64:allocator_release_to_os_interval_ms=50")


@pytest.fixture
def broker(start_broker):
    """A broker without any configuration but its ports."""
    return start_broker()
