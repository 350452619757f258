//! The values that were found and written, as text or JSON.

use serde_json::json;

use super::database::{Database, Iam, Kind};
use super::note::{Note, Refusal};
use super::samconfig::Change;
use super::template::Parameter;

pub(super) struct Report {
    pub(super) database: Database,
    pub(super) function: String,
    /// Of samconfig.toml.
    pub(super) environment: String,
    pub(super) notes: Vec<Note>,
    /// How many of the template's parameters the database gives.
    pub(super) parameters: usize,
    pub(super) changes: Vec<Change>,
    /// The parameters that a person still chooses.
    pub(super) choices: Vec<Parameter>,
    pub(super) written: bool,
}

impl Report {
    /// The database, what to know of it, and the values that change; of a dry run, the new ones too.
    pub(super) fn found(&self, dry_run: bool) -> String {
        let mut text = self.database_line() + "\n";
        for note in &self.notes {
            text += &format!("{note}\n");
        }
        let shown = |change: &&Change| dry_run || change.before.is_some();
        for (index, change) in self.changes.iter().filter(shown).enumerate() {
            if index == 0 {
                text += &format!("samconfig.toml, {}:\n", self.environment);
            }
            if let Some(before) = &change.before {
                text += &format!("- {}={before}\n", change.name);
            }
            text += &format!("+ {}={}\n", change.name, change.after);
        }
        text
    }

    fn database_line(&self) -> String {
        let Database { id, engine, version, vpc, iam, kind, .. } = &self.database;
        let Some(engine) = engine else {
            return format!("{id} is an endpoint, of which RDS says nothing to this caller.");
        };
        let a_proxy = if *kind == Kind::Proxy { "a proxy of " } else { "" };
        let mut line = format!("{id} is {a_proxy}{engine}");
        line += &version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        line += &vpc.as_ref().map(|vpc| format!(" in {vpc}")).unwrap_or_default();
        line += match iam {
            Some(Iam::On) => ", IAM authentication is on.",
            Some(Iam::Off) => ", IAM authentication is OFF.",
            Some(Iam::Pending) => ", IAM authentication is pending.",
            None => ", IAM authentication is unknown.",
        };
        line
    }

    /// The file that was written, and the next steps of a person.
    pub(super) fn done(&self, dry_run: bool) -> String {
        let count = match self.parameters {
            1 => "1 parameter".to_owned(),
            count => format!("{count} parameters"),
        };
        let mut text = match (dry_run, self.written) {
            (true, _) => format!("Wrote nothing (--dry-run): {count}."),
            (false, true) => format!("Wrote samconfig.toml: {count}."),
            (false, false) => format!("samconfig.toml has these values already: {count}."),
        };
        let choices: Vec<String> = self
            .choices
            .iter()
            .map(|choice| {
                let default = choice.default.as_deref().unwrap_or("required");
                format!("{} ({default})", choice.name)
            })
            .collect();
        if !choices.is_empty() {
            text += &format!(" Still yours to choose: {}.", choices.join(", "));
        }
        text += "\n";
        if self.environment != "default" {
            let Self { environment, function, .. } = self;
            text += &format!(
                "Deploy it with:  make build FUNCTION={function}; sam deploy --config-env {environment}\n"
            );
        }
        if let Some(command) = self.administrator() {
            text += &format!("Before the first run, as administrator:  {command}\n");
        }
        text
    }

    /// The command that makes the function's user.
    fn administrator(&self) -> Option<String> {
        let Database { engine, administrator, name, kind, port, .. } = &self.database;
        let (user, host) = administrator.as_ref()?;
        if engine.is_some_and(|engine| engine.serves("neptune-query")) {
            return None;
        }
        if engine.is_some_and(|engine| engine.serves("mysql-query")) {
            let port = port.unwrap_or(3306);
            return Some(format!("mysql -h {host} -P {port} -u {user} -p < sql/mysql/users.sql"));
        }
        let name = name.as_deref().unwrap_or("<database>");
        let mut scripts = "-f sql/roles.sql".to_owned();
        scripts += match self.function.as_str() {
            "event-query" => " -f sql/ledger.sql",
            "batch-job" => " -f sql/jobs.sql",
            _ => "",
        };
        scripts += if *kind == Kind::Proxy { " -f sql/proxy.sql" } else { "" };
        // The port of the database behind a proxy is its own.
        let port = port.filter(|_| *kind != Kind::Proxy).map(|port| format!(" port={port}"));
        let port = port.unwrap_or_default();
        Some(format!(
            "psql \"host={host}{port} dbname={name} user={user} sslmode=require\" {scripts}"
        ))
    }

    pub(super) fn to_json(&self) -> String {
        let missing = self.notes.iter().filter_map(|note| match note {
            Note::Unasked(right, Refusal::Denied) => Some(right.to_string()),
            _ => None,
        });
        let value = json!({
            "database": self.database,
            "function": self.function,
            "environment": self.environment,
            "changes": self.changes,
            "written": self.written,
            "choose": self.choices,
            "missing_rights": missing.collect::<Vec<_>>(),
            "notes": self.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "administrator": self.administrator(),
        });
        format!("{value:#}\n")
    }
}
