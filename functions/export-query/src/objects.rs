//! The objects of one export: one, or several and a manifest. Nothing appears before every row is in S3.

use aws_sdk_s3::Client;
use futures_util::stream::{self, StreamExt};
use rds_iam::{Error, ErrorKind};
use serde_json::json;
use tokio::time::Instant;

use crate::destination::Destination;
use crate::encode::Encoder;
use crate::upload::{Upload, Written};

/// What S3 has to be asked for within the time that is kept for the end.
const MOST_OBJECTS: usize = 1000;
/// Last requests on their way at once.
const AT_ONCE: usize = 8;
/// Aborts on their way at once: there may be little time.
const ABORTS_AT_ONCE: usize = 32;

/// Where an export goes, by the number of an object, from 1 on; `None` is the manifest.
pub(crate) type Locate<'a> = dyn Fn(Option<usize>) -> Result<Destination, Error> + Send + Sync + 'a;

/// The objects of one export.
pub(crate) struct Objects<'a> {
    client: &'a Client,
    locate: &'a Locate<'a>,
    /// The size at which the next object begins.
    split: Option<u64>,
    overwrite: bool,
    run: &'a str,
    bound: Instant,
    /// The object that is written, once there is something for it.
    current: Option<Upload<'a>>,
    sealed: Vec<Sealed<'a>>,
}

/// An object that S3 has every part of.
struct Sealed<'a> {
    upload: Upload<'a>,
    rows: u64,
    is_published: bool,
}

/// What was written.
pub(crate) struct Published {
    /// The object, or the manifest.
    pub(crate) destination: Destination,
    /// Its checksum.
    pub(crate) sha256: String,
    /// Of all objects, without the manifest.
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) parts: i32,
    /// Their number, if the export was to be split.
    pub(crate) objects: Option<usize>,
}

impl<'a> Objects<'a> {
    /// Sends nothing yet.
    pub(crate) fn new(
        client: &'a Client,
        locate: &'a Locate<'a>,
        (split, overwrite): (Option<u64>, bool),
        run: &'a str,
        bound: Instant,
    ) -> Self {
        let sealed = Vec::new();
        Self { client, locate, split, overwrite, run, bound, current: None, sealed }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sealed.is_empty()
    }

    /// The object that is written now.
    fn current(&mut self) -> Result<&mut Upload<'a>, Error> {
        let upload = match self.current.take() {
            Some(upload) => upload,
            None if self.sealed.len() == MOST_OBJECTS => return Err(too_many()),
            None => self.upload((self.locate)(Some(self.sealed.len() + 1))?),
        };
        Ok(self.current.insert(upload))
    }

    fn upload(&self, destination: Destination) -> Upload<'a> {
        Upload::new(self.client, destination, self.overwrite, self.run, self.bound)
    }

    /// Sends a part of the current object.
    pub(crate) async fn part(&mut self, body: Vec<u8>) -> Result<(), Error> {
        self.current()?.part(body).await
    }

    /// Whether the current object has its size, with what is ready for it.
    pub(crate) fn is_full(&self, ready: usize) -> bool {
        let sent = self.current.as_ref().map_or(0, Upload::bytes);
        self.split.is_some_and(|split| sent + ready as u64 >= split)
    }

    /// Ends the current object.
    pub(crate) async fn seal(&mut self, encoder: Encoder) -> Result<(), Error> {
        let rows = encoder.rows();
        let rest = encoder.finish().await?;
        self.current()?.seal(rest).await?;
        let upload = self.current.take();
        self.sealed.extend(upload.map(|upload| Sealed { upload, rows, is_published: false }));
        Ok(())
    }

    /// Makes every object appear, and then the manifest.
    pub(crate) async fn publish(&mut self) -> Result<Published, Error> {
        let all = self.sealed.iter_mut().map(|sealed| async {
            let written = sealed.upload.publish().await?;
            sealed.is_published = true;
            Ok((sealed.upload.destination.clone(), written))
        });
        // Each to its end: one that is cut off might appear or not.
        let ended: Vec<Result<_, Error>> = stream::iter(all).buffered(AT_ONCE).collect().await;
        let mut written = ended.into_iter().collect::<Result<Vec<(Destination, Written)>, _>>()?;
        let bytes = written.iter().map(|(_, written)| written.bytes).sum();
        let parts = written.iter().map(|(_, written)| written.parts).sum();
        if self.split.is_some() {
            let mut manifest = self.manifest()?;
            let whole = manifest.publish().await?;
            written.push((manifest.destination, whole));
        }
        let (destination, Written { sha256, .. }) = written.pop().ok_or_else(nothing)?;
        let rows = self.sealed.iter().map(|sealed| sealed.rows).sum();
        let objects = self.split.map(|_| self.sealed.len());
        Ok(Published { destination, sha256, rows, bytes, parts, objects })
    }

    /// The manifest, in the form that Redshift's UNLOAD writes and its COPY reads.
    fn manifest(&self) -> Result<Upload<'a>, Error> {
        let entries = self.sealed.iter().map(|sealed| {
            let Destination { bucket, key, .. } = &sealed.upload.destination;
            let meta =
                json!({ "content_length": sealed.upload.bytes(), "record_count": sealed.rows });
            json!({ "url": format!("s3://{bucket}/{key}"), "mandatory": true, "meta": meta })
        });
        let manifest = json!({ "entries": entries.collect::<Vec<_>>() }).to_string();
        let mut upload = self.upload((self.locate)(None)?);
        upload.whole(manifest.into_bytes());
        Ok(upload)
    }

    /// Ends every upload that is open, by this time. Returns what is left, as a phrase for the error.
    pub(crate) async fn abort(&mut self, bound: Instant) -> Option<String> {
        let there = self.sealed.iter().filter(|sealed| sealed.is_published).count();
        let of = self.sealed.len();
        let unpublished = self.sealed.iter_mut().filter(|sealed| !sealed.is_published);
        let open = unpublished.map(|sealed| &mut sealed.upload).chain(&mut self.current);
        let aborts = stream::iter(open.map(|upload| upload.abort(bound)));
        let aborted: Vec<bool> = aborts.buffer_unordered(ABORTS_AT_ONCE).collect().await;
        if aborted.contains(&false) {
            return Some(STILL_OPEN.to_owned());
        }
        (there > 0)
            .then(|| format!("{there} of {of} objects are there, and no manifest names them"))
    }
}

const STILL_OPEN: &str =
    "an upload could not be aborted, and its parts stay until a life-cycle rule removes them";

fn too_many() -> Error {
    Error::new(ErrorKind::ExportFailed, "the export has too many objects")
        .because("one export may have 1,000")
        .remedy("Raise split_mb, or export less at once, by a parameter")
}

fn nothing() -> Error {
    Error::new(ErrorKind::ExportFailed, "nothing was written")
}
