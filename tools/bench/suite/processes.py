"""The processes of a benchmark: started on their core, asked, and ended by pid."""

import ctypes
import json
import os
import pathlib
import resource
import select
import signal
import subprocess
import tempfile
import time
import urllib.request

# Seconds that a process may take to start, and beyond the limit of a command.
PATIENCE = 20.0
PR_SET_PDEATHSIG = 1
CPUCLOCK_SCHED = 2


class Failure(Exception):
    """Something did not work, so that a number would mean nothing."""


def expect(condition, what):
    if not condition:
        raise Failure(what)


class Child:
    """A process. Its stderr goes to a file, so that nobody has to read along."""

    def __init__(self, stage, name, command, core):
        self.name = name
        self._stage = stage
        self._answers = b""
        self.log_file = stage.folder / f"{name}.{len(stage.children)}.log"
        libc = ctypes.CDLL(None)

        def before_exec():
            # Should this script be killed, nothing of it goes on.
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if core is not None:
                os.sched_setaffinity(0, {core})

        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                preexec_fn=before_exec)
        self.pid = self.process.pid
        self.pidfd = os.pidfd_open(self.pid)
        stage.children.append(self)

    def log(self):
        return self.log_file.read_text(errors="replace")

    def cpu_ns(self):
        """CPU time of all its threads, those that have ended too, to the nanosecond."""
        return time.clock_gettime_ns((~self.pid << 3) | CPUCLOCK_SCHED)

    def rss(self):
        """Resident bytes."""
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        lines = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(lines[0].split()[1]) * 1024

    def tell(self, command):
        try:
            self.process.stdin.write(command.encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self._stage.check_alive()
            raise Failure(f"{self.name} does not listen") from None

    def answer(self, timeout=PATIENCE + 30):
        """The next line that it says, as JSON. Fails as soon as any process has ended."""
        deadline = time.monotonic() + timeout
        while (result := self.poll_answer(deadline - time.monotonic())) is None:
            expect(time.monotonic() < deadline, f"{self.name} took more than {timeout:.0f} s")
        expect("error" not in result or not result["error"], f"{self.name}: {result.get('error')}")
        return result

    def poll_answer(self, timeout):
        """The same, or None when there is none after this long."""
        if b"\n" not in self._answers:
            stdout = self.process.stdout.fileno()
            watched = [stdout] + [child.pidfd for child in self._stage.children]
            ready, _, _ = select.select(watched, [], [], max(timeout, 0))
            if stdout in ready:
                self._answers += os.read(stdout, 65536)
            if any(fd != stdout for fd in ready):
                self._stage.check_alive()
        if b"\n" not in self._answers:
            return None
        line, self._answers = self._answers.split(b"\n", 1)
        return json.loads(line)

    def ask(self, command, limit=30):
        self.tell(command if " limit=" in command else insert_limit(command, limit))
        return self.answer(limit + PATIENCE)

    def stop(self):
        if self.process.poll() is None:
            # No drain: the clients are gone, or do not matter any more.
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            try:
                stream.close()
            except BrokenPipeError:
                pass
        os.close(self.pidfd)


def insert_limit(command, limit):
    """Right behind the name: a filter is the last of a command, and has spaces."""
    name, _, rest = command.partition(" ")
    return f"{name} limit={limit:.0f} {rest}"


class Stage:
    """The processes of one measurement; all of them end with it."""

    def __init__(self, bench):
        self.bench = bench
        self.children = []
        self.folder = bench.folder
        self._tickets = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        while self.children:
            self.children.pop().stop()

    def check_alive(self):
        for child in self.children:
            code = child.process.poll()
            if code is None:
                continue
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
            last = "\n".join(child.log().splitlines()[-5:])
            raise Failure(f"{child.name} {how}" + (f", and said last:\n{last}" if last else ""))

    def program(self, name):
        return str(self.bench.build_dir / "bin" / name)

    def ticket_file(self):
        self._tickets += 1
        return self.folder / f"tickets.{self._tickets}"

    def load(self, busy=True, name="bench_load"):
        flags = ["--busy"] if busy and self.bench.load_core is not None else []
        return Child(self, name, [self.program("bench_load")] + flags, self.bench.load_core)

    def call(self, server, name="bench_call", key=None):
        command = [self.program("bench_call"), server.control] + ([key] if key else [])
        return Child(self, name, command, self.bench.load_core)

    def floor(self, name="bench_floor"):
        """bench_floor, or bench_empty_grpc, which has a `control` beside."""
        child = Child(self, name, [self.program(name)], self.bench.server_core)
        started = child.answer(PATIENCE)
        child.port = started["port"]
        child.control = started.get("control")
        return child

    def daemon(self, limits=None, raw=None, tls=None, state_dir=False, callers=None):
        """socket-broker with one shard; `limits` and `raw` add to its configuration.
        With `state_dir` it has a new one."""
        config = {
            "websocket": {"port": 0, **({"tls": tls} if tls else {})}, "control": {"port": 0, **({"callers": callers} if callers else {})},
            "admin": {"port": 0}, "shards": 1,
            "endpoints": [{"path": "/raw", "namespace": "raw", "framing": "RAW", **(raw or {})},
                          {"path": "/ws"}],
            "limits": {"max_connections_per_address": 0, "ping_interval": "1h", **(limits or {})},
            "log": {"format": "JSON"},
        }
        if state_dir:
            config["state_dir"] = tempfile.mkdtemp(dir=self.folder)
        file = self.folder / f"broker.{len(self.children)}.json"
        file.write_text(json.dumps(config))
        return Daemon(self, "socket-broker", [self.program("socket-broker"), "--config", str(file)],
                      self.bench.server_core)


class Daemon(Child):
    """The broker, once it serves."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        deadline = time.monotonic() + PATIENCE
        while not (started := self.events("started")):
            self._stage.check_alive()
            expect(time.monotonic() < deadline, "socket-broker did not start")
            time.sleep(0.01)
        self.port = int(started[0]["websocket_address"].rpartition(":")[2])
        self.control = started[0]["control_address"]
        self.admin = started[0]["admin_address"]

    def events(self, name):
        """Its log lines of one event. The last line may not be whole yet."""
        whole = self.log().rpartition("\n")[0].splitlines()
        entries = [json.loads(line) for line in whole if line.startswith("{")]
        return [entry for entry in entries if entry.get("event") == name]

    def closes(self, code):
        """How many connections it has closed with this code."""
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=PATIENCE) as page:
            for line in page.read().decode().splitlines():
                if line.startswith(f'socketbroker_closes_total{{code="{code}"}}'):
                    return int(float(line.split()[-1]))
        return 0

    def limit_descriptors(self, soft):
        """Of this process only, while it runs. Returns what the soft limit was."""
        before, hard = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (soft, hard))
        return before

    def lowest_free_descriptor(self):
        """Once it closes none any more: below it there is then no gap."""
        seen, deadline = None, time.monotonic() + PATIENCE
        while (now := {int(fd) for fd in os.listdir(f"/proc/{self.pid}/fd")}) != seen:
            expect(time.monotonic() < deadline, "socket-broker goes on opening and closing descriptors")
            seen = now
            time.sleep(0.3)
        return min(set(range(len(now) + 1)) - now)
