//! HTTP/1.1 on a connection that a listener of ours has accepted.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

/// How long a client may take for the head of each request. A connection that sends none is closed then, as
/// AWS closes it.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers the requests of one connection, until the client closes it or sends nothing.
pub(crate) async fn serve<S, A, F, B>(stream: S, answer: A) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
{
    let answer = |request| {
        let answered = answer(request);
        async move { Ok::<_, Infallible>(answered.await) }
    };
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service_fn(answer))
        .await
        .map_err(|error| io::Error::other(error.to_string()))
}
