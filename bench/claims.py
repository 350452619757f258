"""What claims.toml claims, beside what was measured."""

import pathlib
import tomllib
from dataclasses import dataclass

from measurement import Measurement

# A busy machine's ratios differ from run to run by this much.
TOLERANCE = 1.1


@dataclass
class Claim:
    """Ours ÷ the peer's is at most `at_most`. `wanted` is the aim where it is lower, and `why` why it is missed."""

    what: str
    peer: str
    at_most: float
    wanted: float | None = None
    why: str = ""

    def text(self):
        return f"≤ {self.at_most:g}"


@dataclass
class Row:
    """A measurement beside one peer, or by itself."""

    measurement: Measurement
    peer: str | None
    claim: Claim | None

    @property
    def what(self):
        return self.measurement.what

    @property
    def measured(self):
        return self.measurement.ratio(self.peer)

    @property
    def missed(self):
        """Whether the claim is missed by more than a tenth."""
        return self.claim is not None and self.measured > self.claim.at_most * TOLERANCE


def read():
    """The claims."""
    path = pathlib.Path(__file__).with_name("claims.toml")
    return [Claim(**entry) for entry in tomllib.loads(path.read_text())["claim"]]


def judged(measurements, claims):
    """A row for each measurement and peer. A claim is found by the beginnings of both names, so that a peer's
    name may hold its version. Fails if a claim of a part that was measured names nothing."""
    rows = []
    for measurement in measurements:
        for peer in measurement.peers or [None]:
            found = [
                claim for claim in claims
                if measurement.what == claim.what and peer is not None and peer.startswith(claim.peer)
            ]
            rows.append(Row(measurement, peer, found[0] if found else None))
    measured = {measurement.what for measurement in measurements}
    used = [row.claim for row in rows]
    for claim in claims:
        if claim.what in measured and claim not in used:
            raise SystemExit(f"bench: claims.toml names no peer of {claim.what}: {claim.peer}")
    return rows
