//! The report as text or JSON, once or until the login works.

use std::io::IsTerminal;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use rds_doctor::{Client, Environment, Finding, LIMIT, Report, Status};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Between two checks of `--watch`.
const PAUSE: Duration = Duration::from_secs(2);

/// Checks the environment's database, prints the report, and returns whether the login works. With
/// `watch`, repeats the check until it does, and prints what changed. Nothing needs to be undone when Ctrl-C
/// ends the process.
pub(crate) async fn run(json: bool, watch: bool, client: Option<Client>) -> bool {
    let environment = Environment::from_process();
    let clock = SharedTimeSource::default();
    let mut last: Option<Report> = None;
    loop {
        let mut report = rds_doctor::check(&environment, &clock, LIMIT).await;
        report.causes.extend(client.map(|client| client.finding(&environment)));
        match &last {
            Some(last) if !json => print!("{}", changes(last, &report, clock.now())),
            _ => {
                print!("{}", if json { to_json(&report) } else { table(&report, Paint::detect()) })
            }
        }
        if report.ok || !watch {
            return report.ok;
        }
        last = Some(report);
        tokio::time::sleep(PAUSE).await;
    }
}

fn to_json(report: &Report) -> String {
    // A report holds text and numbers only.
    serde_json::to_string(report).unwrap_or_default() + "\n"
}

/// Colours, for a terminal only (<https://no-color.org>).
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn detect() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        Self(std::io::stdout().is_terminal() && !refused && !dumb)
    }

    fn status(self, status: Status) -> String {
        let (word, colour) = match status {
            Status::Ok => ("ok", 32),
            Status::Warning => ("warning", 33),
            Status::Failed => ("FAILED", 31),
            Status::Skipped => ("skipped", 2),
            _ => ("unknown", 33),
        };
        self.colour(&format!("{word:<8}"), colour)
    }

    fn colour(self, text: &str, colour: u8) -> String {
        if self.0 { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

fn table(report: &Report, paint: Paint) -> String {
    let summary = paint.colour(&report.summary, if report.ok { 32 } else { 31 });
    let mut text = format!("{summary}  ({:.0} ms)\n", report.duration_ms);
    if report.others.is_empty() {
        return text + "\n" + &engine(report, paint);
    }
    for report in std::iter::once(report).chain(&report.others) {
        text += &format!("\n{}\n{}", paint.colour(report.engine.name(), 1), engine(report, paint));
    }
    text
}

fn engine(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    for step in &report.steps {
        let took = match step.status {
            Status::Skipped => String::new(),
            _ => format!("{:.1}", step.ms),
        };
        let status = paint.status(step.status);
        text += &format!("  {:<14} {status} {took:>7}  {}\n", step.name, step.found);
    }
    for (index, finding) in report.causes.iter().enumerate() {
        text += &format!("\n{}. {}\n", index + 1, cause(finding, paint));
    }
    text
}

fn cause(finding: &Finding, paint: Paint) -> String {
    let likelihood = format!("{:?}", finding.likelihood).to_lowercase();
    let title = paint.colour(&finding.title, 1);
    let mut text = format!("{title}  [{}, {likelihood}]", finding.cause);
    for seen in &finding.evidence {
        text += &format!("\n   seen  {seen}");
    }
    for remedy in &finding.remedies {
        for (index, line) in remedy.lines().iter().enumerate() {
            text += &format!("\n   {}  {line}", if index == 0 { "do  " } else { "    " });
        }
    }
    text
}

/// The differences from the check before, a line each.
fn changes(before: &Report, after: &Report, now: std::time::SystemTime) -> String {
    let whole_second = OffsetDateTime::from(now).replace_nanosecond(0);
    let at = whole_second.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default();
    let mut text = String::new();
    let all = |report: &'_ Report| -> Vec<(rds_doctor::Engine, rds_doctor::Step)> {
        let reports = std::iter::once(report).chain(&report.others);
        reports.flat_map(|r| r.steps.iter().map(|step| (r.engine, step.clone()))).collect()
    };
    let steps = all(before);
    for (engine, step) in all(after) {
        let same = |(other, old): &&(rds_doctor::Engine, rds_doctor::Step)| {
            *other == engine && old.name == step.name
        };
        let old = steps.iter().find(same).map(|(_, old)| old.status);
        if let Some(old) = old.filter(|old| *old != step.status) {
            text += &format!(
                "{at}  {}: {} -> {}: {}\n",
                step.name,
                Paint(false).status(old).trim(),
                Paint(false).status(step.status).trim(),
                step.found
            );
        }
    }
    if before.summary != after.summary {
        text += &format!("{at}  {}\n", after.summary);
        if let Some(first) = after.causes.first().filter(|_| !after.ok) {
            text += &format!("{}\n", cause(first, Paint(false)));
        }
    }
    text
}
