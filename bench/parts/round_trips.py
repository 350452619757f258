"""How many round trips a read, a write, a batch and a login take, through a network of known latency: by
shared/benches/round_trips.rs, which fails when a median is over its bound."""

from parts import cargo_bench


def measure():
    return cargo_bench("round_trips")
