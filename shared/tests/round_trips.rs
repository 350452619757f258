//! How often client and server take turns: each turn is a round trip, whatever the network's latency.
//! They are counted by a relay in front of the gate, and not timed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::time::SharedTimeSource;
use rds_iam::deadline::Deadline;
use rds_iam::query::{Parameters, Query};
use rds_iam::session::Report;
use rds_iam::{Config, Session};
use rds_local::{Options, Server};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Counts how often the client speaks after the server did.
#[derive(Default)]
struct Turns {
    count: AtomicUsize,
    client_spoke_last: AtomicBool,
}

impl Turns {
    fn spoke(&self, client: bool) {
        if client && !self.client_spoke_last.swap(true, SeqCst) {
            self.count.fetch_add(1, SeqCst);
        } else if !client {
            self.client_spoke_last.store(false, SeqCst);
        }
    }

    fn take(&self) -> usize {
        self.count.swap(0, SeqCst)
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    turns: Arc<Turns>,
    client: bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        turns.spoke(client);
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
}

async fn relay(to: SocketAddr) -> (SocketAddr, Arc<Turns>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let turns = Arc::new(Turns::default());
    let counted = turns.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(to).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(copy(from_client, to_server, counted.clone(), true));
            tokio::spawn(copy(from_server, to_client, counted.clone(), false));
        }
    });
    (address, turns)
}

/// Turns of a cold read, and of each of three warm ones with a parameter.
async fn turns(negotiation: &str) -> (usize, Vec<usize>) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Options::new(folder.path())).await.unwrap();
    let (address, turns) = relay(server.address).await;
    let mut variables: BTreeMap<String, String> = server.variables();
    variables.insert("DB_TUNNEL".into(), address.to_string());
    variables.insert("PGSSLNEGOTIATION".into(), negotiation.into());
    let config = Config::from_vars(|name| variables.get(name).map(OsString::from)).unwrap();
    let credentials = Credentials::new(
        &variables["AWS_ACCESS_KEY_ID"],
        &variables["AWS_SECRET_ACCESS_KEY"],
        Some(variables["AWS_SESSION_TOKEN"].clone()),
        None,
        "test",
    );
    let provider = SharedCredentialsProvider::new(credentials);
    let session = Session::with_credentials(config, provider, SharedTimeSource::default()).unwrap();
    let query = Query::parse(
        "q",
        "/*+++\nparams = [{ name = \"age\", default = 20 }]\n+++*/ SELECT * FROM customers WHERE age > $1",
    )
    .unwrap();
    let parameters = Parameters::bind(&query, &BTreeMap::new()).unwrap();
    let mut counts = Vec::new();
    for _ in 0..4 {
        let deadline = Deadline::after(Duration::from_secs(20));
        session.read(&query, &parameters, deadline, &mut Report::default()).await.unwrap();
        counts.push(turns.take());
    }
    server.stop().await.unwrap();
    (counts[0], counts[1..].to_vec())
}

#[tokio::test]
async fn a_warm_read_is_one_round_trip_and_a_cold_one_six() {
    let (cold, warm) = turns("postgres").await;
    assert_eq!(warm, [1, 1, 1]);
    // SSLRequest; ClientHello; Finished and start-up; token; query. TCP's own is the sixth.
    assert_eq!(cold, 5);
}

#[tokio::test]
async fn direct_tls_saves_one() {
    let (cold, warm) = turns("direct").await;
    assert_eq!((cold, warm), (4, vec![1, 1, 1]));
}
