//! The data folders of database servers. The first one is made by the engine's own program; a process that
//! starts more servers, as tests do, makes one template and copies it, in a tenth of the time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio::sync::Mutex;

use crate::Result;
use crate::lifeline::Removal;
use crate::process::Home;

/// The templates of this process, by the program that makes them. `None`: the program ran once.
static TEMPLATES: Mutex<BTreeMap<PathBuf, Option<Template>>> = Mutex::const_new(BTreeMap::new());

/// A data folder that no server uses.
struct Template {
    data: PathBuf,
    _removal: Removal,
}

/// Makes `data` in the server's folder: runs `program` with the arguments that `arguments` adds, or copies
/// what it made before.
///
/// # Errors
/// If the program or the copy fails; the message holds what it printed.
pub(crate) async fn make_data(
    home: &Home,
    program: &Path,
    arguments: impl Fn(&mut Command, &Path),
) -> Result<()> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let make = |folder: &Path| {
        let mut command = home.command(program);
        arguments(&mut command, folder);
        home.run(command, &name)
    };
    let template = {
        let mut templates = TEMPLATES.lock().await;
        match templates.get(program) {
            Some(Some(template)) => Some(template.data.clone()),
            Some(None) => {
                let folder = home.folder_in_tmp()?;
                let removal = Removal::of(std::slice::from_ref(&folder))?;
                make(&folder).await?;
                let data = folder.join("data");
                let template = Template { data: data.clone(), _removal: removal };
                templates.insert(program.to_owned(), Some(template));
                Some(data)
            }
            None => {
                templates.insert(program.to_owned(), None);
                None
            }
        }
    };
    let Some(template) = template else { return make(&home.folder).await };
    let mut copy = home.command(Path::new("cp"));
    copy.arg("-R").arg(template).arg(home.folder.join("data"));
    home.run(copy, "cp").await
}
