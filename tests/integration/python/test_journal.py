"""Revocations with a state directory: on disk when they are answered, and in force after a crash."""

import contextlib
import os
import resource
import signal
import sqlite3
import subprocess

import grpc
import pytest

from harness.broker import BINARY, Broker
from harness.checks import REVOKED, fails, refused
from harness.revoke import close_account, close_filtered, close_session, revocations
from socketbroker.v1 import socket_broker_pb2 as pb
from socketbroker.v1 import socket_broker_pb2_grpc


@pytest.fixture
def state(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def run(tmp_path_factory, state):
    """Starts brokers on one state directory; they may be killed."""
    brokers = []

    def start(**options):
        broker = Broker(tmp_path_factory.mktemp("broker"), "--state-dir", str(state), **options)
        brokers.append(broker)
        return broker

    yield start
    for broker in brokers:
        broker.stop()


def info(broker):
    return broker.client.get_broker_info(pb.GetBrokerInfoRequest())


def test_a_revocation_holds_after_kill_9(run):
    first = run()
    assert info(first).durable_revocations and first.started["durable_revocations"]
    before = first.epoch
    first.ticket("a1", session="s1", epoch=before)
    answer = close_account(first, "a1")
    first.kill()

    second = run()
    assert second.epoch > answer.epoch
    assert info(second).oldest_epoch <= before
    with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
        second.ticket("a1", session="s1", epoch=before)
    pending = second.pend()
    request = pb.AddConnectionRequest(connection_id=pending.id, verified_at_epoch=before)
    request.identity.account_id = "a1"
    with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
        second.client.add_connection(request)
    # Verified afterwards, or somebody else: welcome.
    second.connect(second.ticket("a1", session="s1", epoch=answer.epoch))
    second.connect(second.ticket("a2", epoch=before))
    assert [r.revocation_id for r in revocations(second)] == [answer.revocation_id]


def test_blocks_and_filters_hold_after_kill_9_and_lifting_does_too(run):
    first = run()
    request = pb.CloseSocketsForSessionRequest(token_hash="s1")
    request.block_for.FromSeconds(600)
    blocked = first.client.close_sockets_for_session(request).revocation_id
    fenced = close_filtered(first, 'labels.v = "1"', fence=True, fence_ttl=600).revocation_id
    first.kill()

    second = run()
    for identity in ({"session": "s1"}, {"labels": {"v": "1"}}):
        with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
            second.ticket("a1", **identity)
    for revocation in (blocked, fenced):
        second.client.lift_revocation(pb.LiftRevocationRequest(revocation_id=revocation))
    second.kill()

    third = run()
    assert revocations(third) == []
    third.connect(third.ticket("a1", session="s1", labels={"v": "1"}))


def test_a_ticket_of_an_earlier_run_is_refused(run):
    first = run()
    ticket = first.ticket("a1")
    close_account(first, "a1")
    first.kill()
    with refused(401):
        run().connect(ticket)


def test_many_at_once_all_hold(run):
    first = run()
    before = first.epoch
    with grpc.insecure_channel(first.control) as channel:
        stub = socket_broker_pb2_grpc.SocketBrokerStub(channel)
        calls = [stub.CloseSocketsForSession.future(
            pb.CloseSocketsForSessionRequest(token_hash=f"s{i}")) for i in range(1000)]
        for call in calls:
            call.result()
    # Fewer writes than changes: they share their fsyncs.
    assert first.metric("journal_changes_total") == 1000
    assert first.metric("journal_write_seconds_count") < 1000
    first.kill()
    second = run()
    for i in (0, 500, 999):
        with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
            second.ticket("a1", session=f"s{i}", epoch=before)


def test_a_full_disk_is_told_and_the_revocation_enforced(run):
    broker = run()
    member = broker.join("a1", session="s1")
    before = broker.epoch
    limits = resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, (4096, limits[1]))

    with fails("UNAVAILABLE", "JOURNAL_FAILED") as failed:
        close_session(broker, "s1")
    assert failed.value.metadata["closed"] == "1"
    assert member.closed() == REVOKED
    with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
        broker.ticket("a1", session="s1", epoch=before)
    with fails("UNAVAILABLE", "JOURNAL_FAILED"):
        close_session(broker, "s1")
    assert broker.metric("journal_failures_total") == 2
    broker.wait_for_log("journal_failed")
    assert len(broker.events("journal_failed")) == 1

    resource.prlimit(broker.process.pid, resource.RLIMIT_FSIZE, limits)
    close_session(broker, "s1")
    broker.wait_for_log("journal_recovered")
    broker.kill()
    with fails("FAILED_PRECONDITION", "CREDENTIAL_REVOKED"):
        run().ticket("a1", session="s1", epoch=before)


def test_epochs_that_were_forgotten_are_refused_after_a_restart(run):
    config = {"revocations": {"retention": "60s"}}
    first = run(config=config)
    assert info(first).oldest_epoch == first.epoch
    with fails("FAILED_PRECONDITION", "EPOCH_TOO_OLD"):
        first.ticket("a1", epoch=first.epoch - 1)
    oldest = info(first).oldest_epoch
    first.kill()
    second = run(config=config)
    second.ticket("a1", epoch=oldest)
    with fails("FAILED_PRECONDITION", "EPOCH_TOO_OLD"):
        second.ticket("a1", epoch=oldest - 1)


def refusal(state, *arguments):
    """What the broker says when it does not start, and its exit code."""
    ports = ["--websocket-port", "0", "--control-port", "0", "--admin-port", "0"]
    ended = subprocess.run([BINARY, "--state-dir", str(state), *ports, *arguments],
                           stderr=subprocess.PIPE, timeout=60, check=False)
    return ended.returncode, ended.stderr.decode()


def test_a_damaged_journal_is_refused_and_can_be_moved_away(run, state):
    first = run()
    close_account(first, "a1")
    before = first.epoch - 1
    assert first.stop() == 0
    damaged = state / "journal.db"
    good = damaged.read_bytes()
    damaged.write_bytes(good[:2000] + os.urandom(2096) + good[4096:])
    code, text = refusal(state)
    assert code == 1
    assert str(damaged) in text and "damaged" in text and "To start without it" in text

    for file in state.glob("journal.db*"):
        file.rename(state / ("old-" + file.name))
    second = run()
    with fails("FAILED_PRECONDITION", "EPOCH_TOO_OLD"):
        second.ticket("a1", epoch=before)


def change(state, *statements):
    """What another program does to the file, as a repair that drops rows."""
    with contextlib.closing(sqlite3.connect(state / "journal.db", isolation_level=None)) as journal:
        for statement in statements:
            journal.execute(statement)


def test_a_journal_that_lacks_fences_is_refused(run, state):
    first = run()
    for account in ("a1", "a2", "a3"):
        close_account(first, account)
    assert first.stop() == 0
    change(state, "CREATE TABLE kept AS SELECT * FROM fences", "DELETE FROM fences WHERE key = 'a2'")
    code, text = refusal(state)
    assert code == 1
    assert str(state / "journal.db") in text and "1 of the 3 fences in it are missing" in text
    assert "To start without it" in text

    change(state, "INSERT OR IGNORE INTO fences SELECT * FROM kept")
    assert len(revocations(run())) == 3


def test_two_brokers_cannot_share_a_state_directory(run, state):
    run()
    code, text = refusal(state)
    assert code == 1 and "in use by another process" in text


def test_a_state_directory_that_cannot_be_had_is_named(state):
    code, text = refusal(state / "not" / "there")
    assert code == 1 and str(state / "not" / "there") in text and "No such file" in text


def test_without_a_state_directory_it_says_so_once(broker):
    assert not info(broker).durable_revocations
    broker.wait_for_log("revocations_in_memory")
    close_account(broker, "a1")
    assert len(broker.events("revocations_in_memory")) == 1


def test_retention_is_reloaded(run):
    broker = run(config={"endpoints": [{"path": "/ws"}]})
    broker.write_config({"endpoints": [{"path": "/ws"}], "revocations": {"retention": "90s"}})
    broker.signal(signal.SIGHUP)
    broker.wait_for_log("reloaded")
    close_account(broker, "a1")
    kept = revocations(broker)[0]
    assert kept.expire_time.ToSeconds() - kept.create_time.ToSeconds() == 90
