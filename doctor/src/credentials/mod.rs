//! Keys, roles, clocks, and a token.

pub(crate) mod causes;
pub(crate) mod evidence;
pub(crate) mod step;
