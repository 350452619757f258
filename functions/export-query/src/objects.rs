//! The objects of one export: one, or several and a manifest. Nothing appears before every row is in S3.

use aws_sdk_s3::Client;
use futures_util::stream::{self, StreamExt};
use rds_iam::{Error, ErrorKind};
use serde_json::json;
use tokio::time::Instant;

use crate::destination::Destination;
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
    current: Upload<'a>,
    sealed: Vec<Sealed<'a>>,
}

/// An object that S3 has every part of.
struct Sealed<'a> {
    upload: Upload<'a>,
    rows: u64,
    written: Option<Written>,
}

/// What was written.
pub(crate) struct Published {
    /// The object, or the manifest.
    pub(crate) destination: Destination,
    /// Its checksum.
    pub(crate) sha256: String,
    /// Of all objects, without the manifest.
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
    ) -> Result<Self, Error> {
        let current = Upload::new(client, locate(Some(1))?, overwrite, run, bound);
        let sealed = Vec::new();
        Ok(Self { client, locate, split, overwrite, run, bound, current, sealed })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sealed.is_empty()
    }

    /// Sends a part of the current object.
    pub(crate) async fn part(&mut self, body: Vec<u8>) -> Result<(), Error> {
        self.current.part(body).await
    }

    /// Whether the current object has its size, with what is ready for it.
    pub(crate) fn is_full(&self, ready: usize) -> bool {
        self.split.is_some_and(|split| self.current.bytes() + ready as u64 >= split)
    }

    /// Ends the current object, and begins the next.
    pub(crate) async fn seal(&mut self, rest: Vec<u8>, rows: u64) -> Result<(), Error> {
        self.current.seal(rest).await?;
        let number = self.sealed.len() + 2;
        if number > MOST_OBJECTS + 1 {
            return Err(Error::new(ErrorKind::ExportFailed, "the export has too many objects")
                .because("one export may have 1,000")
                .remedy("Raise split_mb, or export less at once, by a parameter"));
        }
        let destination = (self.locate)(Some(number))?;
        let next = Upload::new(self.client, destination, self.overwrite, self.run, self.bound);
        let upload = std::mem::replace(&mut self.current, next);
        self.sealed.push(Sealed { upload, rows, written: None });
        Ok(())
    }

    /// Makes every object appear, and then the manifest.
    pub(crate) async fn publish(&mut self) -> Result<Published, Error> {
        let all = self.sealed.iter_mut().map(|sealed| async {
            sealed.written = Some(sealed.upload.publish().await?);
            Ok::<(), Error>(())
        });
        // Each to its end: one that is cut off might appear or not.
        let ended: Vec<Result<(), Error>> = stream::iter(all).buffered(AT_ONCE).collect().await;
        ended.into_iter().collect::<Result<(), Error>>()?;
        let written = || self.sealed.iter().filter_map(|sealed| sealed.written.as_ref());
        let bytes = written().map(|written| written.bytes).sum();
        let parts = written().map(|written| written.parts).sum();
        let (destination, sha256) = if self.split.is_some() {
            let mut manifest = self.manifest()?;
            let written = manifest.publish().await?;
            (manifest.destination, written.sha256)
        } else {
            let only = self.sealed.first();
            let sha256 = written().next().map(|written| written.sha256.clone());
            let destination = only.map(|only| only.upload.destination.clone());
            destination.zip(sha256).ok_or_else(nothing)?
        };
        let objects = self.split.map(|_| self.sealed.len());
        Ok(Published { destination, sha256, bytes, parts, objects })
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
        let destination = (self.locate)(None)?;
        let mut upload =
            Upload::new(self.client, destination, self.overwrite, self.run, self.bound);
        upload.whole(manifest.into_bytes());
        Ok(upload)
    }

    /// Ends every upload that is open, by this time. Returns what is left, as a phrase for the error.
    pub(crate) async fn abort(&mut self, bound: Instant) -> Option<String> {
        let there = self.sealed.iter().filter(|sealed| sealed.written.is_some()).count();
        let of = self.sealed.len();
        let unpublished = self.sealed.iter_mut().filter(|sealed| sealed.written.is_none());
        let open = unpublished.map(|sealed| &mut sealed.upload).chain([&mut self.current]);
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

fn nothing() -> Error {
    Error::new(ErrorKind::ExportFailed, "nothing was written")
}
