//! Counts round trips, independently of the network's latency.
//! They are counted by a relay in front of the gate, and not timed.

use crate::common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use common::{Database, run};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Counts how often the client speaks after the server did.
#[derive(Default)]
pub struct Turns {
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

    pub fn take(&self) -> usize {
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

pub async fn relay(to: SocketAddr) -> (SocketAddr, Arc<Turns>) {
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

/// Turns of a cold read with a parameter, of two warm ones, and of a warm write.
async fn turns(negotiation: &str) -> [usize; 4] {
    let database = Database::start(|options| options).await;
    let (address, turns) = relay(database.server.address).await;
    let tunnel = address.to_string();
    let session = database.session(&[("DB_TUNNEL", &tunnel), ("PGSSLNEGOTIATION", negotiation)]);
    let read = "/*+++\nparams = [{ name = \"age\" }]\n+++*/ SELECT * FROM customers WHERE age > $1";
    let write = "/*+++\nmode = \"write\"\nparams = [{ name = \"id\" }]\n+++*/
        INSERT INTO marks (id) VALUES ($1) RETURNING id";
    let mut counts = [0; 4];
    for (index, count) in counts.iter_mut().enumerate() {
        let (query, params) =
            if index < 3 { (read, r#"{"age":20}"#) } else { (write, r#"{"id":1}"#) };
        run(&session, query, params).await.unwrap();
        *count = turns.take();
    }
    database.server.stop().await.unwrap();
    counts
}

#[tokio::test]
async fn a_cold_read_is_six_round_trips_a_warm_one_one_and_a_warm_write_two() {
    // SSLRequest; ClientHello; Finished and start-up; token; query. TCP's own is the sixth.
    assert_eq!(turns("postgres").await, [5, 1, 1, 2]);
}

#[tokio::test]
async fn direct_tls_saves_one() {
    assert_eq!(turns("direct").await, [4, 1, 1, 2]);
}

/// The claim, and the first BEGIN; then the lease with the statement, and the counts with COMMIT and the
/// next BEGIN. The chunk that affects no rows runs once more.
#[tokio::test]
async fn a_chunk_of_a_batch_job_is_two() {
    use rds_iam::session::{JobReport, JobRun, Overlap, Step};

    let database = Database::start(|options| options).await;
    database.admin("INSERT INTO marks SELECT generate_series(1, 100)").await;
    let (address, turns) = relay(database.server.address).await;
    let session = database.session(&[("DB_TUNNEL", &address.to_string())]);
    run(&session, "SELECT 1 AS n", "{}").await.unwrap();
    turns.take();
    let text = "/*+++\nmode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"\n+++*/
        DELETE FROM marks WHERE id IN (SELECT id FROM marks LIMIT 10)";
    let (query, parameters) = common::prepare(text, "{}");
    let steps = [Step { query, parameters }];
    let (overlap, lease) = (Overlap::Skip, std::time::Duration::from_secs(30));
    let job = JobRun { job: "j", run: "r", steps: &steps, input: "", overlap, lease };
    let deadline = rds_iam::deadline::Deadline::after(std::time::Duration::from_secs(20));
    let mut work = rds_iam::Work::new(deadline);
    let ended = session.run_job(&job, &mut work, &mut JobReport::default()).await.unwrap();
    assert_eq!((ended.chunks, ended.rows), (11, 100));
    assert_eq!(turns.take(), 2 + 2 * 11 + 1);
    database.server.stop().await.unwrap();
}
