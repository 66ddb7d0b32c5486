"""A headless Chromium, as a process."""

import os
import shutil
import subprocess
import tempfile

PROGRAM = "chromium"
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]


class Chromium:
    def __init__(self, profile, log, *arguments):
        assert shutil.which(PROGRAM), "Chromium is not installed (Debian: chromium)"
        # It leaves things there. Not in `profile`: the names of its sockets would be too long.
        self._temporary = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        with open(log, "wb") as output:
            self._process = subprocess.Popen(
                [PROGRAM, *FLAGS, f"--user-data-dir={profile}", *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env={**os.environ, "TMPDIR": self._temporary.name})

    def stop(self):
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._temporary.cleanup()
