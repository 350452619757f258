//! samconfig.toml, of which only a function's environment changes: comments and everything else stay.
//! <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/serverless-sam-cli-config.html>

use serde::Serialize;
use toml_edit::{Array, DocumentMut, Item, Table, TableLike, Value, value};

const PATH: &str = "samconfig.toml";
const OVERRIDES: &str = "parameter_overrides";

/// The defaults of `sam deploy` in one environment.
pub(super) struct SamConfig {
    document: DocumentMut,
    environment: String,
}

/// A value that `sam deploy` takes from the file.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    pub(super) name: String,
    pub(super) before: Option<String>,
    pub(super) after: String,
}

impl SamConfig {
    /// Reads the file in the current folder, if there is one.
    pub(super) fn read(environment: &str) -> Result<Self, String> {
        let text = match std::fs::read_to_string(PATH) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "version = 0.1\n".into(),
            text => text.map_err(|error| format!("{PATH} cannot be read: {error}"))?,
        };
        Self::parse(&text, environment)
    }

    fn parse(text: &str, environment: &str) -> Result<Self, String> {
        let document = text.parse().map_err(|error| format!("{PATH} is not TOML: {error}"))?;
        let config = Self { document, environment: environment.to_owned() };
        config.parameters()?;
        Ok(config)
    }

    pub(super) fn write(&self) -> Result<(), String> {
        let text = self.document.to_string();
        std::fs::write(PATH, text).map_err(|error| format!("{PATH} cannot be written: {error}"))
    }

    fn deploy(&self) -> Option<&dyn TableLike> {
        let environment = self.document.get(&self.environment)?.as_table_like()?;
        environment.get("deploy")?.as_table_like()?.get("parameters")?.as_table_like()
    }

    /// A setting of SAM's, such as `region`.
    pub(super) fn setting(&self, key: &str) -> Option<&str> {
        self.deploy()?.get(key)?.as_str()
    }

    /// The parameters of the template that have a value.
    pub(super) fn parameters(&self) -> Result<Vec<(String, String)>, String> {
        let unreadable = || {
            let environment = &self.environment;
            format!(
                "{PATH}: {OVERRIDES} of {environment} is not a list of \"Name=value\": make it one"
            )
        };
        let texts: Vec<&str> = match self.deploy().and_then(|deploy| deploy.get(OVERRIDES)) {
            None => Vec::new(),
            Some(Item::Value(Value::String(text))) => vec![text.value()],
            Some(Item::Value(Value::Array(list))) => {
                let texts = list.iter().map(|value| value.as_str().filter(|text| is_one(text)));
                texts.collect::<Option<_>>().ok_or_else(unreadable)?
            }
            Some(_) => return Err(unreadable()),
        };
        let pairs: Option<Vec<_>> = texts.into_iter().map(pairs).collect();
        Ok(pairs.ok_or_else(unreadable)?.concat())
    }

    /// Takes over new settings, and new values of the template's parameters.
    pub(super) fn set(
        &mut self,
        function: &str,
        settings: &[Change],
        overrides: &[Change],
    ) -> Result<(), String> {
        let parameters = self.parameters()?;
        let deploy = self.deploy_mut(function)?;
        for change in settings {
            deploy.insert(&change.name, value(&change.after));
        }
        if overrides.is_empty() {
            return Ok(());
        }
        let item = deploy.entry(OVERRIDES).or_insert_with(|| value(Array::new()));
        if item.is_str() {
            // A list has a line for each parameter, and room for comments.
            let mut list = Array::new();
            for (name, value) in &parameters {
                push(&mut list, written(name, value));
            }
            *item = value(list);
        }
        let Some(list) = item.as_array_mut() else { return Ok(()) };
        for change in overrides {
            let text = written(&change.name, &change.after);
            match parameters.iter().position(|(name, _)| *name == change.name) {
                Some(at) => drop(list.replace(at, text)),
                None => push(list, text),
            }
        }
        Ok(())
    }

    /// The table of the environment. A new one deploys a stack of its own.
    fn deploy_mut(&mut self, function: &str) -> Result<&mut dyn TableLike, String> {
        let is_new = self.deploy().is_none();
        let not_a_table = || format!("{PATH}: {} is not a table of tables", self.environment);
        let mut table: &mut dyn TableLike = self.document.as_table_mut();
        for key in [self.environment.as_str(), "deploy", "parameters"] {
            let mut empty = Table::new();
            empty.set_implicit(key != "parameters");
            let item = table.entry(key).or_insert(Item::Table(empty));
            table = item.as_table_like_mut().ok_or_else(not_a_table)?;
        }
        if is_new {
            let suffix = match self.environment.as_str() {
                "default" => String::new(),
                environment if environment == function => String::new(),
                environment => format!("-{environment}"),
            };
            table.insert("template", value(format!(".aws-sam/{function}/template.yaml")));
            table.insert("stack_name", value(format!("rds-iam-{function}{suffix}")));
            table.insert("resolve_s3", value(true));
            table.insert("capabilities", value("CAPABILITY_IAM"));
            table.insert("confirm_changeset", value(true));
        }
        Ok(table)
    }
}

/// Appends a line of its own, behind the comment of the line before.
fn push(list: &mut Array, text: String) {
    let mut tail = String::new();
    if let Some(last) = list.len().checked_sub(1).and_then(|last| list.get_mut(last)) {
        tail += last.decor().suffix().and_then(|suffix| suffix.as_str()).unwrap_or_default();
        last.decor_mut().set_suffix("");
    }
    tail += list.trailing().as_str().unwrap_or_default();
    let mut item = Value::from(text);
    item.decor_mut().set_prefix(format!("{}\n    ", tail.trim_end()));
    list.push_formatted(item);
    list.set_trailing("\n");
    list.set_trailing_comma(true);
}

fn is_one(text: &str) -> bool {
    pairs(text).is_some_and(|pairs| pairs.len() == 1)
}

/// Splits `A=1 B="two words"` as SAM does; `None` for its older form `ParameterKey=…,ParameterValue=…`.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=')?;
        let name = name.trim_matches('"');
        if name.is_empty() || name == "ParameterKey" || !name.chars().all(char::is_alphanumeric) {
            return None;
        }
        let quote = behind.chars().next().filter(|c| matches!(c, '"' | '\''));
        let mut characters = behind.char_indices().skip(usize::from(quote.is_some()));
        let mut value = String::new();
        let mut end = behind.len();
        while let Some((at, character)) = characters.next() {
            match (character, quote) {
                ('\\', _) => {
                    let escaped = characters.next()?.1;
                    value.extend((!" \"'".contains(escaped)).then_some('\\'));
                    value.push(escaped);
                }
                (c, Some(quote)) if c == quote => {
                    end = at + 1;
                    break;
                }
                (' ', None) => {
                    end = at;
                    break;
                }
                (c, _) => value.push(c),
            }
        }
        pairs.push((name.to_owned(), value));
        rest = behind[end..].trim_start();
    }
    Some(pairs)
}

fn written(name: &str, value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.,:/@+-".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return format!("{name}={value}");
    }
    format!("{name}=\"{}\"", value.replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(name: &str, after: &str) -> Change {
        Change { name: name.to_owned(), before: None, after: after.to_owned() }
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn comments_and_other_environments_stay() {
        let text = "# Ours.\nversion = 0.1\n\n[default.deploy.parameters]\nstack_name = \"mine\" # not yours\n\
            parameter_overrides = [\n    # The host.\n    \"DatabaseHost=old\", # moved in May\n    \"Query=mine\", # ours\n]\n\n\
            [prod.deploy.parameters]\nparameter_overrides = \"DatabaseHost=prod\"\n";
        let mut config = SamConfig::parse(text, "default").unwrap();
        let overrides = [change("DatabaseHost", "new"), change("DatabaseName", "two words")];
        config.set("unused", &[change("region", "eu-west-1")], &overrides).unwrap();
        let expected = text
            .replace("DatabaseHost=old", "DatabaseHost=new")
            .replace("# ours\n", "# ours\n    'DatabaseName=\"two words\"',\n")
            .replace("]\n\n[prod", "]\nregion = \"eu-west-1\"\n\n[prod");
        assert_eq!(config.document.to_string(), expected);
        let name = config.parameters().unwrap().pop().unwrap();
        assert_eq!(name, pair("DatabaseName", "two words"));
    }

    #[test]
    fn what_sam_wrote_itself_becomes_a_list() {
        let text = "[default.deploy.parameters]\nparameter_overrides = 'A=\"1\" SubnetIds=\"a,b\" C=x\\ y D=\"\"'\n";
        let mut config = SamConfig::parse(text, "default").unwrap();
        let before = [pair("A", "1"), pair("SubnetIds", "a,b"), pair("C", "x y"), pair("D", "")];
        assert_eq!(config.parameters().unwrap(), before);
        config.set("unused", &[], &[change("A", "2")]).unwrap();
        let expected = "[default.deploy.parameters]\nparameter_overrides = [\n    \"A=2\",\n    \
            \"SubnetIds=a,b\",\n    'C=\"x y\"',\n    'D=\"\"',\n]\n";
        assert_eq!(config.document.to_string(), expected);
    }

    #[test]
    fn a_new_environment_has_a_stack_of_its_own() {
        for (environment, stack) in [("event-query", "event-query"), ("dev", "event-query-dev")] {
            let mut config = SamConfig::parse("version = 0.1\n", environment).unwrap();
            config.set("event-query", &[], &[change("A", "1")]).unwrap();
            let expected = format!(
                "version = 0.1\n\n[{environment}.deploy.parameters]\ntemplate = \".aws-sam/event-query/template.yaml\"\n\
                stack_name = \"rds-iam-{stack}\"\nresolve_s3 = true\ncapabilities = \"CAPABILITY_IAM\"\nconfirm_changeset = true\n\
                parameter_overrides = [\n    \"A=1\",\n]\n"
            );
            assert_eq!(config.document.to_string(), expected);
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        for overrides in ["['A=1 B=2']", "'ParameterKey=A,ParameterValue=1'", "{ A = 1 }", "[1]"] {
            let text = format!("[default.deploy.parameters]\nparameter_overrides = {overrides}\n");
            let error = SamConfig::parse(&text, "default").map(drop).unwrap_err();
            assert!(error.contains("is not a list"), "{overrides}: {error}");
        }
    }
}
