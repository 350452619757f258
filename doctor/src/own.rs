//! An engine's own configuration, beside the one that the shared stages read.

use rds_iam::Config;
use rds_iam::config::{MysqlConfig, NeptuneConfig, Problem};
use rds_iam::endpoint::EndpointKind;

use crate::configuration::evidence::Configuration;
use crate::configuration::step as configuration;
use crate::engine::Engine;
use crate::environment::Environment;
use crate::report::{Status, Step};

/// The configuration that only one engine's login reads.
#[derive(Debug, Default)]
pub(crate) enum Own {
    /// PostgreSQL, or nothing can be read.
    #[default]
    None,
    Mysql(Box<MysqlConfig>),
    Neptune(Box<NeptuneConfig>),
}

/// The environment, read.
pub(crate) struct Read {
    pub(crate) configuration: Configuration,
    pub(crate) own: Own,
    pub(crate) step: Step,
}

/// Reads an environment of [`Environment::for_engine`].
pub(crate) fn read(environment: &Environment) -> Read {
    let engine = environment.engine();
    if engine == Engine::Postgres {
        let (configuration, step) = configuration::read(environment);
        return Read { configuration, own: Own::None, step };
    }
    let (mut own, problems) = own(environment);
    let (mut read, mut step) = configuration::read(&with_region(environment, &own));
    if problems.is_empty() {
        read.repairs.clear();
    } else {
        let repairs = read.repairs.iter();
        let spelled = repairs.map(|(name, value)| (engine.spell(name), value.clone()));
        own = self::own(&environment.with(&spelled.collect::<Vec<_>>())).0;
    }
    read.config = read.config.map(|config| adapted(config, &own));
    read.problems = problems;
    (step.status, step.found) = match &read.config {
        Some(config) if read.problems.is_empty() => (Status::Ok, said(config, engine)),
        _ => {
            let said: Vec<String> = read.problems.iter().map(Problem::to_string).collect();
            (Status::Failed, said.join("; "))
        }
    };
    Read { configuration: read, own, step }
}

fn own(environment: &Environment) -> (Own, Vec<Problem>) {
    let get = |name: &str| environment.raw(name);
    let own = match environment.engine() {
        Engine::Mysql => MysqlConfig::check(get).map(|own| Own::Mysql(Box::new(own))),
        _ => NeptuneConfig::check(get).map(|own| Own::Neptune(Box::new(own))),
    };
    own.map_or_else(|problems| (Own::None, problems), |own| (own, Vec::new()))
}

/// A name of Neptune tells its region to Neptune's configuration only.
fn with_region(environment: &Environment, own: &Own) -> Environment {
    match own {
        Own::Neptune(own) => {
            environment.with(&[("DB_REGION".to_owned(), own.common.region.clone())])
        }
        _ => environment.with(&[]),
    }
}

/// Neptune's roots, and the kind of its endpoint: the RDS API describes its clusters too.
fn adapted(mut config: Config, own: &Own) -> Config {
    if let Own::Neptune(own) = own {
        config.roots = own.roots.clone();
        config.common.region.clone_from(&own.common.region);
        config.endpoint.kind = match own.host.as_str() {
            host if !host.contains(".neptune.") => EndpointKind::Other,
            host if host.contains(".cluster-ro-") => EndpointKind::ClusterReader,
            host if host.contains(".cluster-custom-") => EndpointKind::ClusterCustom,
            host if host.contains(".cluster-") => EndpointKind::ClusterWriter,
            _ => EndpointKind::Instance,
        };
    }
    config
}

fn said(config: &Config, engine: Engine) -> String {
    let Config { endpoint, user, database, common, .. } = config;
    let region = &common.region;
    match engine {
        Engine::Neptune => format!("{}:{}, region {region}", endpoint.host, endpoint.port),
        _ => format!(
            "{user} at {}:{}, database {database}, region {region}",
            endpoint.host, endpoint.port
        ),
    }
}
