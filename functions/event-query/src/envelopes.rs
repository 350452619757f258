//! The envelopes that the function unwraps.
//!
//! AWS vouches for the event that Lambda delivers, and not for the text inside a message: a sender
//! writes that. A text that only looks like a notification could choose its
//! own id, so it is unwrapped only if the function expects that envelope.

use rds_iam::{Error, ErrorKind};

/// The envelopes that a message's text may be (`EVENT_ENVELOPES`): `sns`, `s3`, `eventbridge`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Envelopes {
    pub(crate) sns: bool,
    pub(crate) s3: bool,
    pub(crate) eventbridge: bool,
}

impl Envelopes {
    /// Reads the variable, which may be missing or empty.
    pub(crate) fn from_env() -> Result<Self, Error> {
        Self::parse(&std::env::var("EVENT_ENVELOPES").unwrap_or_default())
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let mut envelopes = Self::default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "sns" => envelopes.sns = true,
                "s3" => envelopes.s3 = true,
                "eventbridge" => envelopes.eventbridge = true,
                _ => {
                    let what = "the function's environment is wrong";
                    return Err(Error::new(ErrorKind::ConfigInvalid, what)
                        .because("EVENT_ENVELOPES is not a list of sns, s3 and eventbridge")
                        .remedy(
                            "List the envelopes of the messages in your queue or topic, such as sns,s3",
                        ));
                }
            }
        }
        Ok(envelopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_them() {
        assert_eq!(Envelopes::parse("").unwrap(), Envelopes::default());
        let both = Envelopes { sns: true, s3: true, eventbridge: false };
        assert_eq!(Envelopes::parse(" sns, s3,").unwrap(), both);
        assert_eq!(Envelopes::parse("all").unwrap_err().kind(), ErrorKind::ConfigInvalid);
    }
}
