//! The environment, read as a function reads it.

pub(crate) mod causes;
pub(crate) mod evidence;
pub(crate) mod step;
