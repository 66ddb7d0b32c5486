"""What a scenario is, and how large it is in each mode."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Profile:
    """How much a mode does. Counts are of connections, unless they say otherwise."""

    name: str
    rounds: int
    small: int
    medium: int
    large: int
    leavers: int  # of `large`, closed at once
    deliveries: int  # in one window
    calls: int  # in one window, 16 in flight
    inbound: int  # messages of clients in one window
    seconds: float  # of what is watched over time
    knocks: int  # a second
    stalled_of: int  # 10 % of them stop reading
    bad_tickets: int  # of each kind
    # False: in so little time nothing is measured that could be held to a goal. What
    # must be so at any speed, such as how many were closed, still has one.
    has_goals: bool = True


PROFILES = {
    "full": Profile("full", 5, 1_000, 10_000, 19_000, 10_000, 200_000, 40_000, 200_000, 10, 500,
                    5_000, 10_000),
    "quick": Profile("quick", 3, 1_000, 5_000, 10_000, 5_000, 100_000, 20_000, 100_000, 4, 500,
                     2_000, 2_000),
    "smoke": Profile("smoke", 1, 20, 30, 40, 20, 400, 200, 1_000, 0.5, 100, 20,
                     20, False),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table."""

    key: str
    title: str  # what happens
    measured: str  # what the number is of
    unit: str
    against: str = ""  # what the floor does
    goal: float | None = None  # the most it may be; None: it is there to be known
    # Of what: the "ratio" to the floor, the same as a "percent", or the "value".
    judged_by: str = "ratio"


class Scenario:
    """Measures the broker and its floor, once a round."""

    name = ""
    once = False  # one round is enough: it watches the broker over time

    def __init__(self, profile):
        self.profile = profile
        self.rows = [row if profile.has_goals or row.unit in ("clients", "messages") else
                     dataclasses.replace(row, goal=None) for row in self.make_rows()]

    def make_rows(self):
        raise NotImplementedError

    def prepare(self, bench):
        """Before the first round."""

    def broker(self, stage):
        """One number for each row, by its key."""
        raise NotImplementedError

    def floor(self, stage):
        """The same for the rows that have a floor."""
        return {}


def count_of(number):
    """10000 as "10k"."""
    return f"{number // 1000}k" if number >= 1000 and number % 1000 == 0 else str(number)
