//! Work on another thread, one piece after the other: rows arrive while the ones before are compressed.

use rds_iam::{Error, ErrorKind};
use tokio::task::{JoinHandle, spawn_blocking};

/// Holds what the pieces change: a compressor, or a file.
pub(crate) enum Worker<T> {
    Idle(T),
    Busy(JoinHandle<Result<T, Error>>),
    /// A piece failed.
    Lost,
}

impl<T: Send + 'static> Worker<T> {
    /// Waits for the last piece.
    pub(crate) async fn wait(&mut self) -> Result<&mut T, Error> {
        let state = std::mem::replace(self, Self::Lost).finish().await?;
        *self = Self::Idle(state);
        match self {
            Self::Idle(state) => Ok(state),
            Self::Busy(_) | Self::Lost => Err(lost()),
        }
    }

    /// Starts the next piece, once the last has ended.
    pub(crate) async fn start(
        &mut self,
        piece: impl FnOnce(&mut T) -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let mut state = std::mem::replace(self, Self::Lost).finish().await?;
        *self = Self::Busy(spawn_blocking(move || piece(&mut state).map(|()| state)));
        Ok(())
    }

    /// Waits for the last piece, and returns what the pieces have changed.
    pub(crate) async fn finish(self) -> Result<T, Error> {
        match self {
            Self::Idle(state) => Ok(state),
            Self::Busy(piece) => piece.await.unwrap_or_else(|_| Err(lost())),
            Self::Lost => Err(lost()),
        }
    }
}

/// The code that did the work panicked.
fn lost() -> Error {
    Error::new(ErrorKind::QueryFailed, "the rows cannot be written")
        .because("the thread that compresses them has ended")
        .remedy("Report it, with the types of the query's columns")
}
