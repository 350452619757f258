"""What signing a token and taking credentials from the cache cost beside the AWS SDK's generator: in one process, by
shared/benches/token.rs."""

from parts import cargo_bench


def measure():
    return cargo_bench("token")
