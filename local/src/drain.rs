//! What a client still sends when its answer is ready. A server that closes a connection with unread bytes
//! makes the kernel send a reset, and the client then has a broken pipe instead of the answer. So every
//! server here takes what arrives, within bounds, before it closes.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// How long a body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(60);
/// How long a server takes bytes that it does not use, and how many.
const DRAINING: Duration = Duration::from_secs(10);
const MOST_DRAINED: usize = 512 * 1024 * 1024;
/// How long a closed connection waits for the client's end.
const LINGERING: Duration = Duration::from_secs(2);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is longer than the limit. The client has sent it all, unless it is endless.
    TooLong,
    /// It broke off.
    Broken,
    /// It did not arrive in time.
    Late,
}

/// Reads a body of at most `longest` bytes. A longer one is taken in and forgotten.
pub(crate) async fn read<B>(
    headers: &HeaderMap,
    body: &mut B,
    longest: usize,
) -> Result<Bytes, Unread>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > longest && asks_before_sending(headers) {
        return Err(Unread::TooLong);
    }
    match timeout(ARRIVAL, Limited::new(&mut *body, longest).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            take_rest(body).await;
            Err(Unread::TooLong)
        }
        Ok(Err(_)) => Err(Unread::Broken),
        Err(_) => Err(Unread::Late),
    }
}

/// Takes a body that decides nothing, before a refusal.
pub(crate) async fn discard<B: Body + Unpin>(headers: &HeaderMap, body: &mut B) {
    // Reading would ask the client to go on.
    if !asks_before_sending(headers) {
        take_rest(body).await;
    }
}

async fn take_rest<B: Body + Unpin>(body: &mut B) {
    let rest = async {
        let mut taken = 0;
        while let Some(Ok(frame)) = body.frame().await {
            taken += frame.data_ref().map_or(0, hyper::body::Buf::remaining);
            if taken > MOST_DRAINED {
                break;
            }
        }
    };
    let _ = timeout(DRAINING, rest).await;
}

/// Whether the client waits for `100 Continue` before it sends its body.
fn asks_before_sending(headers: &HeaderMap) -> bool {
    let expected = headers.get(header::EXPECT).map(|value| value.as_bytes());
    expected.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
}

/// Takes what a client still sends, until it closes: after the last answer, and after the end of this
/// server's own side.
pub(crate) async fn linger(stream: &mut (impl AsyncRead + Unpin)) {
    let rest = async {
        let mut buffer = vec![0; 64 * 1024];
        let mut taken = 0;
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            taken += length;
            if taken > MOST_DRAINED {
                break;
            }
        }
    };
    let _ = timeout(LINGERING, rest).await;
}
