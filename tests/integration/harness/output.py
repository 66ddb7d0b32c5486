"""Output: what a process writes, kept, and waited for."""

import threading


class Output:
    def __init__(self, stream):
        """Of bytes; it is read to its end by a thread."""
        self._lines = []
        self._ended = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._reader.start()

    def _read(self, stream):
        for line in stream:
            with self._news:
                self._lines.append(line.decode(errors="replace"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def text(self):
        with self._news:
            return "".join(self._lines)

    def wait(self, condition, what, timeout):
        """Returns what `condition()` returns, once that is true: asked anew at each line."""
        with self._news:
            self._news.wait_for(lambda: condition() or self._ended, timeout)
            value = condition()
        assert value, f"no {what} in:\n{self.text()}"
        return value

    def join(self, timeout):
        """Until all of it is read."""
        self._reader.join(timeout)
