#!/usr/bin/env python3
"""Runs the tour of a README as a reader would: tour.py README.md

A comment before a fenced block says what the block is:

  <!-- tour -->                        commands, pasted into the first terminal
  <!-- tour terminal=client -->        commands, pasted into the terminal `client`
  <!-- tour terminal=client stays -->  commands that do not end by themselves
  <!-- tour output -->                 what the terminal of the block before shows
  <!-- tour output terminal=client --> what the terminal `client` shows

A comment that is a call of grpcurl is made too, before the line that it is the
twin of. A terminal is a bash in the folder of the README. Commands that end must
succeed. Of an output block each line must be shown, one after another, since the
last commands of that terminal (`...` in it stands for anything). Ports are those
of a network of the tour's own, where the system allows to make one.
"""

import fcntl
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

# Seconds until a block must have ended, or an output be there.
PATIENCE = 120
BLOCK = re.compile(r"<!-- tour([^>]*?)-->\s*\n```[^\n]*\n(.*?)\n```", re.S)
TWIN = re.compile(r"^# (grpcurl (?:\\\n#|.)*)$", re.M)
IN_NETWORK = "TOUR_NETWORK"


class Failure(Exception):
    pass


class Terminal:
    def __init__(self, folder):
        self._process = subprocess.Popen(
            ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=folder, start_new_session=True)
        self._shown = ""
        self._from = 0
        self._number = 0
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            piece = os.read(self._process.stdout.fileno(), 65536)
            with self._news:
                self._shown += piece.decode(errors="replace")
                self._news.notify_all()
            if not piece:
                return
            sys.stdout.write(piece.decode(errors="replace"))
            sys.stdout.flush()

    def paste(self, commands, stays):
        self._from = len(self._shown)
        self._number += 1
        mark = f"tour-block-{self._number}-ended:"
        tail = "" if stays else f"\nprintf '%s%s\\n' {mark} $?"
        # One compound command: what it starts cannot swallow the rest of it.
        self._process.stdin.write(f"{{ set -e\n{commands}\n{tail}\n}}\n".encode())
        self._process.stdin.flush()
        if not stays:
            self._wait(re.escape(mark) + "0", "the commands to succeed")

    def expect(self, lines):
        position = self._from
        for line in filter(None, (line.strip() for line in lines.splitlines())):
            pattern = ".*".join(re.escape(part.strip()) for part in line.split("..."))
            position = self._wait(pattern, f"the line {line!r}", position)

    def _wait(self, pattern, what, position=None):
        position = self._from if position is None else position
        deadline = time.monotonic() + PATIENCE
        with self._news:
            while True:
                found = re.compile(pattern).search(self._shown, position)
                if found:
                    return found.end()
                if self._process.poll() is not None and not self._news.wait(0.2):
                    raise Failure(f"the terminal ended instead of {what}:\n{self._shown[self._from:]}")
                if time.monotonic() > deadline:
                    raise Failure(f"waited {PATIENCE} s for {what}:\n{self._shown[self._from:]}")
                self._news.wait(0.2)

    def close(self):
        """Ends the terminal with everything that runs in it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass


def blocks(text):
    for words, content in BLOCK.findall(text):
        options = words.split()
        terminal = [o.partition("=")[2] for o in options if o.startswith("terminal=")]
        yield options, terminal[0] if terminal else None, content


def with_twins(commands):
    return TWIN.sub(lambda twin: twin[1].replace("\n#", "\n"), commands)


def take_tour(readme):
    terminals, last, count = {}, None, 0
    try:
        for options, name, content in blocks(readme.read_text()):
            count += 1
            if "output" in options:
                terminals[name or last].expect(content)
                continue
            last = name or "first"
            if last not in terminals:
                terminals[last] = Terminal(readme.parent)
            content = with_twins(content)
            print(f"--- {last}\n{content}", flush=True)
            terminals[last].paste(content, "stays" in options)
    finally:
        for terminal in reversed(terminals.values()):
            terminal.close()
    if count == 0:
        raise Failure(f"{readme} has no block marked <!-- tour -->")
    print(f"--- the tour's {count} blocks work")


def enter_network():
    """Starts this program anew in a network of its own, if the system lets us."""
    if IN_NETWORK in os.environ:
        return
    command = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    possible = subprocess.run([*command, "true"], stderr=subprocess.DEVNULL).returncode == 0
    os.environ[IN_NETWORK] = "own" if possible else "shared"
    if possible:
        os.execvp(command[0], [*command, sys.executable, *sys.argv])


def raise_loopback():
    get_flags, set_flags, up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = struct.unpack("16sh", fcntl.ioctl(control, get_flags, struct.pack("16sh", b"lo", 0))[:18])[1]
        fcntl.ioctl(control, set_flags, struct.pack("16sh", b"lo", flags | up))


def main():
    enter_network()
    if os.environ[IN_NETWORK] == "own":
        raise_loopback()
    try:
        take_tour(pathlib.Path(sys.argv[1]).resolve())
    except Failure as failure:
        sys.exit(f"The tour fails: {failure}")


if __name__ == "__main__":
    main()
