"""A headless Chromium, as a process."""

import os
import shutil
import subprocess
import tempfile

from harness.output import Output

PROGRAM = "chromium"
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]


class Chromium:
    def __init__(self, profile, *arguments):
        assert shutil.which(PROGRAM), "Chromium is not installed (Debian: chromium)"
        # It leaves things there. Not in `profile`: the names of its sockets would be too long.
        self._temporary = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [PROGRAM, *FLAGS, f"--user-data-dir={profile}", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**os.environ, "TMPDIR": self._temporary.name})
        self.output = Output(self._process.stderr)

    def stop(self):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._temporary.cleanup()
