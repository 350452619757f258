//! The parameters of a function's template.

use std::path::Path;

use serde::Serialize;

/// A parameter, with the value that CloudFormation takes if none is given.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) default: Option<String>,
}

/// The parameters of a function's template, in its order.
///
/// # Errors
/// If there is no such function below the current folder.
pub(super) fn parameters(function: &str) -> Result<Vec<Parameter>, String> {
    let own = Path::new("functions").join(function).join("template.yaml");
    // scheduled-query is the main job: its template is the root's.
    let path = if function == "scheduled-query" { Path::new("template.yaml") } else { &own };
    let text = std::fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        format!("no template of {function} ({path}: {error}): run this in the repository's root")
    })?;
    Ok(read(&text))
}

/// Reads the section `Parameters` of a template whose sections are indented by two spaces. A parameter has a
/// line, `Name: { Type: Number, Default: 1 }`, or a line for each of its keys.
fn read(text: &str) -> Vec<Parameter> {
    let section = text.lines().skip_while(|line| line.trim_end() != "Parameters:").skip(1);
    let mut parameters: Vec<Parameter> = Vec::new();
    for line in section.take_while(|line| line.is_empty() || line.starts_with([' ', '#'])) {
        let Some((key, value)) = line.split_once(':') else { continue };
        let indent = key.len() - key.trim_start().len();
        match (indent, key.trim_start(), parameters.last_mut()) {
            (2, name, _) if !name.starts_with('#') => {
                let flow = value.trim().strip_prefix('{').and_then(|flow| flow.strip_suffix('}'));
                let mut keys = flow.unwrap_or_default().split(", ");
                let default = keys.find_map(|key| key.trim().strip_prefix("Default:")).map(scalar);
                parameters.push(Parameter { name: name.to_owned(), default });
            }
            (4, "Default", Some(parameter)) => parameter.default = Some(scalar(value)),
            _ => {}
        }
    }
    parameters
}

/// A value without its quotes, and without a comment behind it.
fn scalar(value: &str) -> String {
    let value = value.split(" #").next().unwrap_or_default().trim();
    value.trim_matches(['"', '\'']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_defaults_are_read_and_nothing_else() {
        let template = "Metadata:\n  Name:\n    Default: no\nParameters:\n  Host:\n    Type: String\n\
            \n    Description: A host. Default: none\n  # Not a parameter:\n  User:\n    Default: iam_ro_user # a login\n\
            \n  Region:\n    Default: \"\"\n  Port: { Type: Number, Default: 1, MinValue: 1 }\n  \
            Vpc: { Type: String, Description: Of it: and more., Default: \"\" }\n  Id: { Type: String }\nResources:\n  Bucket:\n    Default: no\n";
        let expected = [
            ("Host", None),
            ("User", Some("iam_ro_user")),
            ("Region", Some("")),
            ("Port", Some("1")),
            ("Vpc", Some("")),
            ("Id", None),
        ];
        let expected = expected.map(|(name, default)| Parameter {
            name: name.to_owned(),
            default: default.map(str::to_owned),
        });
        assert_eq!(read(template), expected);
    }
}
