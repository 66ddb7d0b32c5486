"""The table: medians over the rounds, for people and as Markdown."""

import dataclasses
import datetime
import os
import pathlib
import platform
import subprocess

from suite.measure import median

HEAD = ["what", "measured", "broker", "floor", "which does", "ratio", "goal", "", "others"]


@dataclasses.dataclass
class Line:
    """What the rounds of one row came to."""

    row: object
    broker: list
    floor: list
    others: str

    @property
    def ratios(self):
        """What each round came to: its two halves had the same neighbours.

        Without the rounds whose floor was too small to be measured: a few clients may fit into
        memory that the floor had already.
        """
        return [b / f for b, f in zip(self.broker, self.floor) if f > 0]

    @property
    def ratio(self):
        return median(self.ratios) if self.ratios else None

    @property
    def judged(self):
        """The number that the goal is for."""
        if self.row.judged_by == "value":
            return median(self.broker)
        return None if self.ratio is None else self.ratio * (100 if self.row.judged_by == "percent" else 1)

    @property
    def missed(self):
        return self.row.goal is not None and self.judged is not None and self.judged > self.row.goal

    def cells(self):
        row = self.row
        return [row.title, row.measured, number(self.broker, row.unit),
                number(self.floor, row.unit) if self.floor else "", row.against if self.floor else "",
                self.ratio_text(), self.goal(), "MISSED" if self.missed else "", self.others]

    def ratio_text(self):
        if self.ratio is None or self.row.judged_by == "value":
            return ""
        percent = self.row.judged_by == "percent"
        def show(ratio):
            return f"{100 * ratio:.2f}" if percent else f"{ratio:.2f}"
        return (show(self.ratio) + (" %" if percent else "") +
                (f" ({show(min(self.ratios))}-{show(max(self.ratios))})"
                 if len(self.ratios) > 1 else ""))

    def goal(self):
        if self.row.goal is None:
            return ""
        unit = {"ratio": "", "percent": " %", "value": " " + self.row.unit}[self.row.judged_by]
        return f"<= {self.row.goal:g}{unit}"


def plain(value):
    """Three digits, or all that stand before the point."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def number(values, unit):
    """The median, and in brackets the least and the most of all rounds."""
    text = f"{plain(median(values))} {unit}"
    return text if len(values) < 2 else f"{text} ({plain(min(values))}-{plain(max(values))})"


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
            "numbers: medians, in brackets the least and the most of all rounds; the ratio is the median "
            "of the rounds' own ratios",
            "others: CPU time that others took of the server's core / of all cores, in % of the "
            "measured time"]


def commit(root):
    def git(*arguments):
        return subprocess.run(["git", "-C", str(root), *arguments], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.strip()
    changed = " with uncommitted changes" if git("status", "--porcelain") else ""
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + changed
