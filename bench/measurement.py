"""One measurement: what, in which unit, and the rounds of ours and of each peer. A line of JSON each."""

import json
import os
import statistics
from dataclasses import asdict, dataclass, field

# Fewer for a try.
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 9))


@dataclass
class Measurement:
    """`values` holds the rounds by name; the first name is ours. Less is better, in every unit."""

    part: str
    what: str
    unit: str
    values: dict = field(default_factory=dict)

    def add(self, name, value):
        """Adds a round."""
        self.values.setdefault(name, []).append(value)

    @property
    def ours(self):
        """The name of ours."""
        return next(iter(self.values))

    @property
    def peers(self):
        """The names of the others."""
        return list(self.values)[1:]

    def median(self, name):
        """The median of a name's rounds."""
        return statistics.median(self.values[name])

    def ratio(self, peer):
        """Ours ÷ the peer's, of the medians."""
        return self.median(self.ours) / self.median(peer)

    def text(self, name):
        """The median with its spread: `12.3 ms (11.9–14.0)`."""
        rounds = self.values[name]
        median = f"{number(self.median(name))} {self.unit}"
        return median if len(rounds) == 1 else f"{median} ({number(min(rounds))}–{number(max(rounds))})"

    def line(self):
        """As a line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, line):
        """From a line of JSON."""
        return cls(**json.loads(line))


def number(value):
    """Three digits or more."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 1 else f"{value:.2g}"


def in_turn(rounds, contestants):
    """Calls each contestant once a round, and begins every round with the next one: a slow moment of the
    machine, and the caches that another one leaves, meet all of them."""
    names = list(contestants)
    for round in range(rounds):
        for at in range(len(names)):
            name = names[(round + at) % len(names)]
            yield name, contestants[name]()
