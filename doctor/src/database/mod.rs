//! The questions after a login.

pub(crate) mod causes;
pub(crate) mod step;
