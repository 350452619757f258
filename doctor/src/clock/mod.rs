//! This machine's clock beside another.

pub(crate) mod causes;
pub(crate) mod evidence;
pub(crate) mod step;
