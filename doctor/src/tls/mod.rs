//! The server that answers, and its certificate.

pub(crate) mod causes;
pub(crate) mod causes_certificate;
pub(crate) mod certificate;
pub(crate) mod evidence;
pub(crate) mod step;
pub(crate) mod verify;
