//! The questions after a login.

pub(crate) mod causes;
pub(crate) mod evidence;
pub(crate) mod step;
