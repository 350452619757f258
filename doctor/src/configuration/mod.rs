//! The environment, read as a function reads it.

pub(crate) mod causes;
pub(crate) mod step;
