//! Only the features of its dependencies matter: see `Cargo.toml`.
