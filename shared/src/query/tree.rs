//! A statement as a tree of tokens, for questions about its form that need no full parse.

use super::lexer;

/// Deeper than any statement that a person writes.
const DEEPEST: usize = 100;

/// A token, or everything between two parentheses or brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A keyword or an identifier: in lower case, unless it was quoted.
    Word {
        /// The word, without its quotation marks.
        text: String,
        /// Whether it was quoted, and so is no keyword.
        quoted: bool,
    },
    /// `$n`: its `n`.
    Parameter(usize),
    /// A number as it was written.
    Number(String),
    /// A string of any kind.
    Text,
    /// An operator or a punctuation mark.
    Symbol(String),
    /// The tokens between two parentheses or brackets.
    Group(Vec<Token>),
}

impl Token {
    fn read(text: &str) -> Self {
        let word = |text: String, quoted| Self::Word { text, quoted };
        match text.chars().next() {
            Some('"') => word(text.trim_matches('"').to_owned(), true),
            Some('$') if text.len() > 1 && text[1..].bytes().all(|b| b.is_ascii_digit()) => {
                Self::Parameter(text[1..].parse().unwrap_or(usize::MAX))
            }
            Some('\'' | '$') => Self::Text,
            Some('e' | 'E') if text[1..].starts_with('\'') => Self::Text,
            Some(c) if c.is_ascii_digit() => Self::Number(text.to_owned()),
            Some(c) if c.is_alphabetic() || c == '_' => word(text.to_ascii_lowercase(), false),
            _ => Self::Symbol(text.to_owned()),
        }
    }

    /// Whether it is this keyword, in lower case.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Word { text, quoted: false } if text == keyword)
    }

    /// Whether it is one of these keywords.
    pub(crate) fn is_any(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    /// Whether it is this operator or punctuation mark.
    pub(crate) fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self, Self::Symbol(text) if text == symbol)
    }

    /// The word, quoted or not.
    pub(crate) fn word(&self) -> Option<&str> {
        match self {
            Self::Word { text, .. } => Some(text),
            _ => None,
        }
    }

    /// What is between the parentheses or brackets.
    pub(crate) fn group(&self) -> Option<&[Token]> {
        match self {
            Self::Group(tokens) => Some(tokens),
            _ => None,
        }
    }
}

/// The tree of a statement. Empty if it is nested too deeply: then nothing is known about it.
pub(crate) fn tree(sql: &str) -> Vec<Token> {
    let mut open: Vec<Vec<Token>> = Vec::new();
    let mut here = Vec::new();
    for text in lexer::tokens(sql) {
        match text {
            "(" | "[" if open.len() == DEEPEST => return Vec::new(),
            "(" | "[" => open.push(std::mem::take(&mut here)),
            // A closing parenthesis too many is for the server to refuse.
            ")" | "]" => {
                let outer = open.pop().unwrap_or_default();
                let group = Token::Group(std::mem::replace(&mut here, outer));
                here.push(group);
            }
            _ => here.push(Token::read(text)),
        }
    }
    for outer in open.into_iter().rev() {
        let group = Token::Group(std::mem::replace(&mut here, outer));
        here.push(group);
    }
    here
}

/// The first word of a statement, in lower case; `None` if it begins otherwise. PostgreSQL ignores a `;`
/// with nothing before it.
pub(crate) fn first_word(sql: &str) -> Option<String> {
    match Token::read(lexer::tokens(sql).find(|token| *token != ";")?) {
        Token::Word { text, quoted: false } => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Token {
        Token::Word { text: text.into(), quoted: false }
    }

    #[test]
    fn parentheses_become_groups() {
        let expected = vec![
            word("select"),
            Token::Group(vec![Token::Number("1".into()), Token::Group(Vec::new())]),
            Token::Symbol("=".into()),
            Token::Parameter(2),
            Token::Word { text: "From".into(), quoted: true },
            Token::Text,
        ];
        assert_eq!(tree("Select (1 []) = $2 \"From\" -- (\n E'('"), expected);
        assert_eq!(
            tree("((1)"),
            vec![Token::Group(vec![Token::Group(vec![Token::Number("1".into())])])]
        );
        assert_eq!(tree("1)"), vec![Token::Group(vec![Token::Number("1".into())])]);
        assert!(tree(&"(".repeat(100_000)).is_empty());
    }

    #[test]
    fn the_first_word_is_behind_comments_and_empty_statements() {
        for (text, expected) in [
            ("/*+++\nmode = \"write\"\n+++*/ -- copy\n; ;Copy\"t\"", Some("copy")),
            ("COPY(SELECT 1)", Some("copy")),
            ("copy_all", Some("copy_all")),
            ("\"copy\" x", None),
            ("(SELECT 1)", None),
            ("-- nothing", None),
        ] {
            assert_eq!(first_word(text).as_deref(), expected, "{text}");
        }
    }
}
