//! Requests to Neptune, each signed with the credentials themselves: there is no login.

pub(crate) mod causes;
pub(crate) mod causes_refused;
pub(crate) mod evidence;
pub(crate) mod step;
