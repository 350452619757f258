//! `rds-doctor configure`: fills a function's template with what RDS and EC2 say of a database.
//!
//! ```text
//! find ─▶      Database ◀─ network::choose (EC2)
//!                 ▼
//!  template ─▶ changes ─▶ samconfig.toml
//! ```

mod database;
mod ec2;
mod find;
mod network;
mod note;
mod proxy;
mod rds;
mod report;
mod samconfig;
mod template;

use std::io::{IsTerminal, Write};
use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials;
use aws_types::SdkConfig;
use aws_types::region::Region;
use rds_iam::config::sdk_roots_problem;
use tokio::time::timeout;

use database::{Database, Iam};
use note::Note;
use report::Report;
use samconfig::{Change, SamConfig};
use template::Parameter;

/// RDS and EC2 together get no longer.
const LONGEST: Duration = Duration::from_secs(60);

/// The parameters that a person chooses, whatever the database is.
const CHOICES: [&str; 2] = ["DatabaseUser", "Query"];

/// Fill samconfig.toml with what RDS and EC2 say of a database
///
/// Asks for the IAM permissions of docs/deploy.md, section "Configure", and needs no password. What is in
/// samconfig.toml stays, comments too; a value changes only after a yes.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Options {
    /// An instance, cluster or proxy by its name, or by an endpoint's name
    database: String,
    /// The function; by default scheduled-query, mysql-query or neptune-query, as the engine needs
    #[arg(long)]
    function: Option<String>,
    /// The environment of samconfig.toml; by default that of the function
    #[arg(long, value_name = "NAME")]
    config_env: Option<String>,
    /// Use the reader endpoint of a cluster, or the read-only one of a proxy
    #[arg(long)]
    reader: bool,
    /// The profile of the AWS configuration
    #[arg(long)]
    profile: Option<String>,
    /// The database's region; by default the profile's
    #[arg(long)]
    region: Option<String>,
    /// Show what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Change values without a question
    #[arg(long)]
    yes: bool,
    /// Print the result as JSON; asks no question
    #[arg(long)]
    json: bool,
}

/// Configures a function, and returns whether that worked.
pub(crate) async fn run(options: &Options) -> bool {
    let result = configure(options).await;
    if let Err(why) = &result {
        eprintln!("rds-doctor configure: {why}");
    }
    result.is_ok()
}

async fn configure(options: &Options) -> Result<(), String> {
    let described = timeout(LONGEST, describe(options)).await;
    let (database, mut notes) =
        described.map_err(|_| format!("AWS did not answer within {LONGEST:?}"))??;
    let function = function(options, &database)?;
    let environment = options.config_env.clone().unwrap_or_else(|| match function.as_str() {
        "scheduled-query" => "default".to_owned(),
        other => other.to_owned(),
    });
    let mut file = SamConfig::read(&environment)?;
    let (filled, choices) = fill(template::parameters(&function)?, &file, &database)?;
    let settings = [("region", Some(&database.region)), ("profile", options.profile.as_ref())];
    let settings = settings.into_iter().filter_map(|(name, after)| {
        let before = file.setting(name).map(str::to_owned);
        Some(Change { name: name.to_owned(), before, after: after?.clone() })
    });
    let is_new = |change: &Change| change.before.as_ref() != Some(&change.after);
    let settings: Vec<Change> = settings.filter(is_new).collect();
    let parameters = filled.len();
    let overrides: Vec<Change> = filled.into_iter().filter(is_new).collect();
    let changed = |name: &str| overrides.iter().find(|change| change.name == name);
    // The same endpoint with another id is another database.
    if let (None, Some(Change { before: Some(before), after, .. })) =
        (changed("DatabaseHost"), changed("DatabaseResourceId"))
    {
        notes.push(Note::ResourceIdChanged { before: before.clone(), after: after.clone() });
    }
    file.set(&function, &settings, &overrides)?;
    let changes = settings.into_iter().chain(overrides).collect();
    let report = Report {
        database,
        function,
        environment,
        notes,
        parameters,
        changes,
        choices,
        written: false,
    };
    write(options, &file, report)
}

/// The parameters that the database gives, and those that a person still chooses.
fn fill(
    parameters: Vec<Parameter>,
    file: &SamConfig,
    database: &Database,
) -> Result<(Vec<Change>, Vec<Parameter>), String> {
    let known = file.parameters()?;
    let value = |name: &str| known.iter().find(|(other, _)| other == name).map(|(_, value)| value);
    let same_host = value("DatabaseHost") == Some(&database.host);
    let (mut filled, mut choices) = (Vec::new(), Vec::new());
    for Parameter { name, default } in parameters {
        let before = value(&name).cloned();
        match (database.parameter(&name), &before) {
            // RDS knows the database that was there first. In the same place, another choice stays.
            (Some(_), Some(_)) if same_host && name == "DatabaseName" => {}
            (Some(Some(after)), _) => filled.push(Change { name, before, after }),
            // It was another database's.
            (Some(None), Some(_)) if !same_host => {
                choices.push(Parameter { name, default: before })
            }
            (_, None) if CHOICES.contains(&name.as_str()) || default.is_none() => {
                choices.push(Parameter { name, default });
            }
            _ => {}
        }
    }
    Ok((filled, choices))
}

/// Asks if values change, writes the file and prints the report.
fn write(options: &Options, file: &SamConfig, mut report: Report) -> Result<(), String> {
    let changes_values = report.changes.iter().any(|change| change.before.is_some());
    if !options.json {
        print!("{}", report.found(options.dry_run));
    }
    if !options.dry_run && !report.changes.is_empty() {
        if changes_values && !options.yes {
            agreed(options.json)?;
        }
        file.write()?;
        report.written = true;
    }
    print!("{}", if options.json { report.to_json() } else { report.done(options.dry_run) });
    Ok(())
}

/// Asks a person on a terminal.
fn agreed(json: bool) -> Result<(), String> {
    const NOTHING: &str = "samconfig.toml has other values, and nothing is written";
    if json || !std::io::stdin().is_terminal() {
        return Err(format!("{NOTHING}: --yes changes them, --dry-run shows them"));
    }
    print!("Change these values? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdout().flush().and_then(|()| std::io::stdin().read_line(&mut answer));
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(NOTHING.to_owned()),
    }
}

fn function(options: &Options, database: &Database) -> Result<String, String> {
    let by_engine = database.engine.map_or("scheduled-query", database::RdsEngine::function);
    let function = options.function.clone().unwrap_or_else(|| by_engine.to_owned());
    match database.engine.filter(|engine| !engine.serves(&function)) {
        None => Ok(function),
        Some(engine) => Err(format!(
            "{function} does not speak to {engine}: {by_engine} does ({})",
            database.id
        )),
    }
}

/// Asks RDS, then EC2.
async fn describe(options: &Options) -> Result<(Database, Vec<Note>), String> {
    if let Some(problem) = sdk_roots_problem(|name| std::env::var_os(name)) {
        return Err(format!("AWS cannot be asked: {problem}"));
    }
    let sdk = sdk(options).await;
    let region = sdk.region().map(ToString::to_string).filter(|region| !region.is_empty());
    let region = region.ok_or("no region: give --region (make: REGION=), or set AWS_REGION")?;
    let provider = sdk.credentials_provider().ok_or("no AWS credentials found")?;
    let keys = provider.provide_credentials().await.map_err(|error| {
        format!("no AWS credentials ({error}): sign in, or give --profile (make: PROFILE=)")
    })?;
    let mut notes = Vec::new();
    let client = aws_sdk_rds::Client::new(&sdk);
    let name = options.database.trim_end_matches('.');
    let wanted = rds::Wanted { name, reader: options.reader, region: &region };
    let mut database = find::find(&client, &wanted, &mut notes).await?;
    // The partition's suffix is that of the database's own name.
    let suffix = database.host.rsplit_once(&format!("{region}.")).map(|(_, suffix)| suffix);
    let suffix = suffix.map_or("amazonaws.com", |suffix| suffix.trim_start_matches("rds."));
    let suffix = suffix.trim_start_matches("neptune.");
    if let Some(ec2) = ec2::Ec2::new(&sdk, keys, &region, suffix) {
        network::choose(&ec2, &mut database, &mut notes).await;
    }
    match database.iam {
        Some(Iam::Off) => notes.push(Note::IamOff { command: database.enable_iam() }),
        Some(Iam::Pending) => notes.push(Note::IamPending),
        Some(Iam::On) | None => {}
    }
    if let Some(ca) = database.ca.clone().filter(|_| !database.has_built_in_root()) {
        notes.push(Note::UnknownRoot { ca, region });
    }
    Ok((database, notes))
}

async fn sdk(options: &Options) -> SdkConfig {
    let mut loader = aws_config::defaults(aws_config::BehaviorVersion::latest());
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    // An endpoint's name has the region.
    let region = rds::region_of(&options.database).or_else(|| options.region.clone());
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    loader.load().await
}
