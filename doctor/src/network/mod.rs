//! Names, addresses and ports.

pub(crate) mod causes;
pub(crate) mod step;
