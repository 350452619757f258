//! The two forms in which SDKs write a token: `host:port/?parameters`, and `host:port?parameters`,
//! which Go's SDK wrote for years (<https://github.com/aws/aws-sdk-go-v2/issues/3365>).

/// How a token is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `host:port/?…`
    Full,
    /// `host:port?…`
    Short,
}

/// A token, split but not yet judged.
#[derive(Clone, Copy)]
pub(crate) struct TokenText<'a> {
    /// `host:port`
    pub(crate) address: &'a str,
    /// The parameters, as they are written.
    pub(crate) query: &'a str,
    pub(crate) form: Form,
}

impl<'a> TokenText<'a> {
    /// Splits a token. `None` if the text is not written as one, so that it may be a password.
    pub(crate) fn split(token: &'a str) -> Option<Self> {
        let (before, query) = token.split_once('?')?;
        let (address, form) = match before.strip_suffix('/') {
            Some(address) => (address, Form::Full),
            None => (before, Form::Short),
        };
        // A password may hold a question mark. What the log then said would be a part of it.
        let (_, port) = address.rsplit_once(':')?;
        let is_token = form == Form::Full || query.contains("Action=");
        (is_token && port.parse::<u16>().is_ok()).then_some(Self { address, query, form })
    }
}
