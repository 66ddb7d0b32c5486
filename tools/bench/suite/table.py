"""The table: medians over the rounds, for people and as Markdown."""

import dataclasses
import datetime
import os
import pathlib
import platform
import subprocess

from suite.measure import median

HEAD = ["what", "broker", "floor", "broker : floor", "goal", "", "range of broker", "range of floor",
        "others"]


@dataclasses.dataclass
class Line:
    """What the rounds of one row came to."""

    row: object
    broker: list
    floor: list
    others: str

    @property
    def ratio(self):
        """The median of what each round came to: its two halves had the same neighbours."""
        return median([b / f for b, f in zip(self.broker, self.floor)]) if self.floor else None

    @property
    def judged(self):
        """The number that the goal limits."""
        if self.row.limits is None:
            return None
        if self.row.limits == "value":
            return median(self.broker)
        return None if self.ratio is None else self.ratio * (100 if self.row.limits == "percent" else 1)

    @property
    def missed(self):
        return self.judged is not None and self.judged > self.row.target

    def cells(self):
        row = self.row
        return [row.title, number(median(self.broker), row.unit),
                number(median(self.floor), row.unit) if self.floor else "", self.ratio_text(), self.goal(),
                "MISSED" if self.missed else "", span(self.broker), span(self.floor), self.others]

    def ratio_text(self):
        if self.ratio is None:
            return ""
        ratios = [b / f for b, f in zip(self.broker, self.floor)]
        percent = self.row.limits == "percent"
        def show(ratio):
            return f"{100 * ratio:.2f}" if percent else f"{ratio:.2f}"
        text = show(self.ratio) + (" %" if percent else "")
        return text if len(ratios) < 2 else f"{text} ({show(min(ratios))}-{show(max(ratios))})"

    def goal(self):
        if self.row.limits is None:
            return ""
        unit = {"ratio": "", "percent": " %", "value": " " + self.row.unit}[self.row.limits]
        return f"<= {self.row.target:g}{unit}"


def plain(value):
    """Three digits, or all that stand before the point."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def number(value, unit):
    return f"{plain(value)} {unit}"


def span(values):
    return f"{plain(min(values))}-{plain(max(values))}" if len(values) > 1 else ""


def as_text(lines):
    rows = [HEAD] + [line.cells() for line in lines]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
                     for row in rows)


def as_markdown(lines, facts):
    rows = [HEAD, ["---"] * len(HEAD)] + [line.cells() for line in lines]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join(f"- {fact}" for fact in facts) + "\n\n" + table + "\n"


def facts(bench, profile):
    """When, where and what was measured."""
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    pinned = f"server on core {bench.server_core}, clients on core {bench.load_core}"
    if bench.server_core is None:
        pinned = "nothing is pinned"
    elif bench.server_core == bench.load_core:
        pinned = f"server and clients on core {bench.server_core}"
    return [f"date: {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
            f"hardware: {model}, {os.cpu_count()} cores, Linux {platform.release()}",
            f"commit: {commit(bench.root)}",
            f"mode: {profile.name}, rounds: {profile.rounds}, {pinned}",
            "others: CPU time that others took of the server's core / of all cores, in % of the "
            "measured time"]


def commit(root):
    def git(*arguments):
        return subprocess.run(["git", "-C", str(root), *arguments], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.strip()
    changed = " with uncommitted changes" if git("status", "--porcelain") else ""
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + changed
