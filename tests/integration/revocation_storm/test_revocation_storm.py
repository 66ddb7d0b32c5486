"""An account is revoked while its clients connect: what is in storm's head comment, on the real daemon."""

import json
import os
import subprocess

STORM = os.environ.get("REVOCATION_STORM", "build/release/tests/integration/revocation_storm")


def storm(start_broker, rounds, clients):
    # Every client that comes too late is another bad ticket of the same address.
    broker = start_broker(config={"limits": {"max_connections": clients + 100, "max_ticket_misses_per_minute": 0}})
    ports = [broker.control, str(broker.websocket_port), broker.admin.rpartition(":")[2]]
    result = subprocess.run([STORM, *ports, str(rounds), str(clients)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr + broker.log()[-2000:]
    counts = json.loads(result.stdout)
    # Some were in, and some came too late, or nothing was shown.
    assert counts["opened"] > 0 and counts["refused"] >= rounds * clients // 4
    assert counts["opened"] + counts["refused"] == rounds * clients
    assert counts["withheld"] > 0
    assert broker.count() == 0
    return counts


def test_ten_thousand_at_once(start_broker):
    storm(start_broker, rounds=1, clients=10_000)


def test_a_thousand_rounds(start_broker):
    storm(start_broker, rounds=1_000, clients=20)
