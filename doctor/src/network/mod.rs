//! Names, addresses and ports.

pub(crate) mod causes;
pub(crate) mod evidence;
pub(crate) mod step;
