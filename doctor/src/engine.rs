//! The engines, and the names of their variables.
//!
//! The stages before a login are the same for every engine, and read libpq's variables.
//! [`Environment::for_engine`](crate::Environment) gives them an engine's variables under those names, and
//! [`Engine::spell`] writes the engine's own names into what they found.

use serde::Serialize;

/// The kind of database that a function queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Engine {
    /// PostgreSQL and Aurora PostgreSQL: `PGHOST`.
    #[default]
    Postgres,
    /// MySQL, MariaDB and Aurora MySQL: `MYSQL_HOST`.
    Mysql,
    /// Neptune: `NEPTUNE_HOST`.
    Neptune,
}

/// libpq's variables and an engine's for the same, the longer of two similar names first.
type Names = &'static [(&'static str, &'static str)];

const MYSQL: Names = &[
    ("PGHOSTADDR", "MYSQL_HOSTADDR"),
    ("PGHOST", "MYSQL_HOST"),
    ("PGPORT", "MYSQL_TCP_PORT"),
    ("PGDATABASE", "MYSQL_DATABASE"),
    ("PGUSER", "MYSQL_USER"),
    ("PGSSLROOTCERT", "MYSQL_SSL_CA"),
];

const NEPTUNE: Names = &[
    ("PGHOST", "NEPTUNE_HOST"),
    ("PGPORT", "NEPTUNE_PORT"),
    ("PGSSLROOTCERT", "NEPTUNE_SSLROOTCERT"),
];

impl Engine {
    /// Every engine, in the order of the reports.
    pub const ALL: [Self; 3] = [Self::Postgres, Self::Mysql, Self::Neptune];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Mysql => "MySQL",
            Self::Neptune => "Neptune",
        }
    }

    /// The variable of its endpoint.
    pub(crate) fn host_variable(self) -> &'static str {
        match self {
            Self::Postgres => "PGHOST",
            Self::Mysql => "MYSQL_HOST",
            Self::Neptune => "NEPTUNE_HOST",
        }
    }

    /// The beginning of its variables' names.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Postgres => "PG",
            Self::Mysql => "MYSQL_",
            Self::Neptune => "NEPTUNE_",
        }
    }

    pub(crate) fn usual_port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::Mysql => 3306,
            Self::Neptune => 8182,
        }
    }

    /// The user that a login needs, as a placeholder.
    pub(crate) fn user(self) -> &'static str {
        match self {
            Self::Mysql => "<a user that was created with AWSAuthenticationPlugin>",
            _ => "<a database user that has been granted rds_iam>",
        }
    }

    pub(crate) fn names(self) -> Names {
        match self {
            Self::Postgres => &[],
            Self::Mysql => MYSQL,
            Self::Neptune => NEPTUNE,
        }
    }

    /// A text with libpq's variables under the engine's names.
    pub(crate) fn spell(self, text: &str) -> String {
        let names = self.names().iter();
        names.fold(text.to_owned(), |text, (libpq, own)| text.replace(libpq, own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_get_the_engines_names() {
        let text = "PGHOSTADDR, PGHOST, PGPORT and PGUSER";
        assert_eq!(Engine::Postgres.spell(text), text);
        let mysql = "MYSQL_HOSTADDR, MYSQL_HOST, MYSQL_TCP_PORT and MYSQL_USER";
        assert_eq!(Engine::Mysql.spell(text), mysql);
        assert_eq!(Engine::Neptune.spell("PGHOST and PGPORT"), "NEPTUNE_HOST and NEPTUNE_PORT");
    }
}
