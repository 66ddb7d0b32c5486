"""Runs brokerctl, which BROKERCTL names, as an operator would."""

import os
import pty
import subprocess

import fake_broker

BROKERCTL = os.environ["BROKERCTL"]


def environment(**changes):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SOCKET_BROKER_")}
    return {**kept, **changes}


def run(where, *arguments, stdin="", env=None, text=True):
    """`where` is a FakeBroker, an address, or None to leave the address out."""
    address = where.address if isinstance(where, fake_broker.FakeBroker) else where
    command = [BROKERCTL, *arguments] + ([] if address is None else ["--address", address])
    return subprocess.run(
        command, input=stdin, capture_output=True, text=text, timeout=20, env=environment(**(env or {}))
    )


def run_on_terminal(broker, *arguments, answer):
    """The same with a terminal as standard input, on which `answer` was typed."""
    master, terminal = pty.openpty()
    try:
        os.write(master, answer.encode())
        return subprocess.run(
            [BROKERCTL, *arguments, "--address", broker.address],
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=20,
            env=environment(),
        )
    finally:
        os.close(master)
        os.close(terminal)


def rows(text):
    """The cells of a table of two columns or more."""
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]
