//! The program `rds-doctor`: the check of the function db-check for a terminal, and `configure`.

mod configure;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

/// Say why the database that the environment names cannot be reached, and what to do
///
/// Tries every step of a function's login, with the environment of a function, and names the most
/// likely cause first (docs/troubleshooting.md). Exits with 0 if a function with this environment
/// logs in, else with 1. Shows no key and no token:
///   . target/rds-local/env; rds-doctor
#[derive(Parser)]
#[command(version, verbatim_doc_comment, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print the report as JSON; with --watch, one line for each check
    #[arg(long)]
    json: bool,
    /// Say what another client needs, whose options the check cannot see
    #[arg(long)]
    client: Option<rds_doctor::Client>,
    /// Repeat until the login works, and say what changed
    #[arg(long)]
    watch: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    Configure(configure::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("rds-doctor: {error}");
            return ExitCode::FAILURE;
        }
    };
    let works = match &cli.command {
        Some(Command::Configure(options)) => runtime.block_on(configure::run(options)),
        None => runtime.block_on(terminal::run(cli.json, cli.watch, cli.client)),
    };
    // A resolver that hangs keeps its thread, and the answer is there already.
    runtime.shutdown_background();
    if works { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
