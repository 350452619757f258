//! A login to MySQL, MariaDB or Aurora MySQL with a token.
//!
//! The server speaks first, and TLS is part of its protocol; so `step` looks at the greeting, at the certificate
//! and at the login on one connection. A connection that ends before a login counts against the host
//! (`max_connect_errors`), and a login that is refused does not.

pub(crate) mod causes;
mod causes_login;
pub(crate) mod evidence;
mod questions;
pub(crate) mod step;
mod wire;
