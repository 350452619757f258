//! The login with a token, and the reasons to refuse it.

pub(crate) mod causes;
pub(crate) mod evidence;
pub(crate) mod permission;
pub(crate) mod step;
pub(crate) mod token;
