//! Where in a message a parameter's value is: `from = "/detail/orderId"`.
//!
//! JSON Pointer: <https://www.rfc-editor.org/rfc/rfc6901>. Values stay raw JSON, so that numbers
//! keep their digits.

use serde_json::value::RawValue;

use crate::json::Object;

/// Where a parameter's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A JSON Pointer into the message, as its unescaped tokens.
    Pointer(Vec<String>),
    /// A property of the message beside its contents.
    Field(Field),
}

/// A property of a message beside its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The id of the innermost message.
    MessageId,
    /// The time when it was sent, as RFC 3339.
    Timestamp,
    /// Its text, unchanged.
    Body,
    /// The bucket of an S3 notification.
    Bucket,
    /// The object's key, decoded.
    Key,
}

impl Source {
    /// From `from`'s text. Fails with a phrase.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::Pointer(Vec::new()));
        }
        if let Some(tokens) = text.strip_prefix('/') {
            return tokens.split('/').map(unescape).collect::<Result<_, _>>().map(Self::Pointer);
        }
        Ok(Self::Field(match text {
            "message_id" => Field::MessageId,
            "timestamp" => Field::Timestamp,
            "body" => Field::Body,
            "bucket" => Field::Bucket,
            "key" => Field::Key,
            _ => {
                return Err("from is a JSON Pointer, which begins with /, or one of message_id, timestamp, body, bucket and key".into());
            }
        }))
    }
}

fn unescape(token: &str) -> Result<String, String> {
    let mut text = String::with_capacity(token.len());
    let mut rest = token.chars();
    while let Some(c) = rest.next() {
        text.push(match (c, rest.as_str().chars().next()) {
            ('~', Some('0')) => '~',
            ('~', Some('1')) => '/',
            ('~', _) => return Err("in a JSON Pointer, ~ is written ~0, and / in a name ~1".into()),
            _ => c,
        });
        if c == '~' {
            rest.next();
        }
    }
    Ok(text)
}

/// The value that a pointer's tokens lead to.
pub fn resolve<'a>(document: &'a RawValue, tokens: &[String]) -> Option<&'a RawValue> {
    let mut value = document;
    for token in tokens {
        value = match value.get().trim_start().as_bytes().first()? {
            b'{' => Object::parse(value.get())?.get(token)?,
            b'[' => {
                let canonical = token == "0" || !token.starts_with('0');
                let index: usize =
                    token.parse().ok().filter(|_| canonical && !token.starts_with('+'))?;
                let elements: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
                *elements.get(index)?
            }
            _ => return None,
        };
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document and pointers of RFC 6901, section 5.
    #[test]
    fn the_examples_of_the_rfc() {
        let text = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
        let document: &RawValue = serde_json::from_str(text).unwrap();
        for (pointer, expected) in [
            ("", text),
            ("/foo", r#"["bar","baz"]"#),
            ("/foo/0", "\"bar\""),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ] {
            let Source::Pointer(tokens) = Source::parse(pointer).unwrap() else { panic!() };
            assert_eq!(resolve(document, &tokens).unwrap().get(), expected, "{pointer}");
        }
        for missing in ["/foo/2", "/foo/00", "/foo/-", "/foo/+1", "/foo/0/x", "/nothing", "/foo/"] {
            let Source::Pointer(tokens) = Source::parse(missing).unwrap() else { panic!() };
            assert!(resolve(document, &tokens).is_none(), "{missing}");
        }
    }

    #[test]
    fn other_sources_are_refused() {
        assert_eq!(Source::parse("message_id"), Ok(Source::Field(Field::MessageId)));
        assert_eq!(Source::parse("/~01"), Ok(Source::Pointer(vec!["~1".into()])));
        for wrong in ["order_id", "#/a", "/a~", "/a~2", "detail/x"] {
            assert!(Source::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        let document: &RawValue =
            serde_json::from_str(r#"{"a":[ 1.10 , 12345678901234567890123]}"#).unwrap();
        let get = |i: &str| resolve(document, &["a".into(), i.into()]).unwrap().get();
        assert_eq!((get("0"), get("1")), ("1.10", "12345678901234567890123"));
    }
}
