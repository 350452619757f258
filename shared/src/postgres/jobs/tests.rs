//! The table's statements against a model, on random schedules of three invocations that crash, freeze
//! (by not being scheduled), lose answers and outlive their lease. The statements, transactions and locks
//! are PostgreSQL's; only the lease's end is brought about by hand. `MODEL` sets how many schedules.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use rds_local::postgres::Postgres;

use super::*;

const ACTORS: usize = 3;
const STEPS: usize = 30;
const LEASE: Duration = Duration::from_secs(600);
/// So many chunks finish a run.
const LAST: u64 = 4;

/// The expected content of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    begun: bool,
    finished: bool,
    owner: Option<i64>,
    expired: bool,
    chunks: u64,
    /// The actor whose open transaction holds the row.
    locked: Option<usize>,
}

/// The knowledge of an invocation.
#[derive(Clone, Copy, Default)]
struct Actor {
    owner: i64,
    claimed: Option<u64>,
    /// It has an open transaction with a chunk that is not recorded.
    in_chunk: bool,
}

struct Schedule<'a> {
    clients: &'a [Client],
    admin: &'a Client,
    run: String,
    query: Query,
    actors: [Actor; ACTORS],
    model: Model,
    takeovers: usize,
    lost: usize,
}

impl Schedule<'_> {
    fn holder(&self, actor: usize) -> Holder<'_> {
        let owner = self.actors[actor].owner;
        Holder { job: &self.run, run: &self.run, owner, lease: LEASE, input: "", release: true }
    }

    async fn claim(&mut self, i: usize) {
        let claim = self.holder(i).claim(&self.clients[i], &self.query).await.unwrap();
        let Model { begun, finished, owner, expired, locked, .. } = self.model;
        let own = owner == Some(self.actors[i].owner);
        let free = !begun || (!finished && (owner.is_none() || own || expired));
        let expected = free && locked.is_none();
        match claim {
            Claim::Mine(at) => {
                assert!(expected, "{:?}", self.model);
                assert_eq!(at.chunks, self.model.chunks);
                self.takeovers += usize::from(owner.is_some() && !own);
                self.actors[i].claimed = Some(at.chunks);
                self.model.owner = Some(self.actors[i].owner);
                (self.model.begun, self.model.expired) = (true, false);
            }
            Claim::Seen(seen) => {
                assert!(!expected, "{:?} {seen:?}", self.model);
                assert_eq!(seen.status == "finished", finished);
                self.actors[i].claimed = None;
            }
            Claim::Again => panic!("no other run is there"),
        }
    }

    async fn chunk(&mut self, i: usize) {
        let client = &self.clients[i];
        let parameters = Parameters::of(
            &self.query,
            &[("run", &self.run)].into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        )
        .unwrap();
        let (limits, timeout) = (SessionLimits::default(), Some(Duration::from_secs(60)));
        self.holder(i).begin(client, &limits, timeout).await.unwrap();
        let limit = limits.limit(timeout);
        let done = self.holder(i).chunk(client, &self.query, &parameters, limit).await;
        let mine = !self.model.finished && self.model.owner == Some(self.actors[i].owner);
        match done {
            Ok(Answer::Affected(1)) => {
                assert!(mine, "a chunk of a lost lease ran: {:?}", self.model);
                self.actors[i].in_chunk = true;
                self.model.locked = Some(i);
            }
            Err(Undone::LeaseLost) => {
                assert!(!mine, "{:?}", self.model);
                self.lost += 1;
                self.roll_back(i).await;
            }
            other => panic!("{other:?}"),
        }
    }

    /// Commits the chunk; `answered` says whether the actor learns of it.
    async fn record(&mut self, i: usize, answered: bool) {
        let finished = self.model.chunks + 1 == LAST;
        let query = &self.query;
        let (step, pause) = (1, Duration::ZERO);
        let before = self.model.chunks;
        let entry =
            Entry { done: query, before, step, query, step_chunks: 0, rows: 1, finished, pause };
        let limits = SessionLimits::default();
        self.holder(i).record(&self.clients[i], &limits, entry, Ending::Commit).await.unwrap();
        self.model.chunks += 1;
        (self.model.locked, self.model.expired) = (None, false);
        (self.model.finished, self.actors[i].in_chunk) = (finished, false);
        if finished {
            self.model.owner = None;
        }
        if !answered || finished {
            self.actors[i].claimed = None;
        }
    }

    async fn roll_back(&mut self, i: usize) {
        self.clients[i].batch_execute("ROLLBACK").await.unwrap();
        if self.model.locked == Some(i) {
            self.model.locked = None;
        }
        (self.actors[i].in_chunk, self.actors[i].claimed) = (false, None);
    }

    async fn expire(&mut self) {
        if self.model.locked.is_none() {
            let sql = "UPDATE job_runs SET lease_until = now() - interval '1 s' WHERE run = $1";
            let updated = self.admin.execute(sql, &[&self.run]).await.unwrap();
            assert_eq!(updated == 1, self.model.begun);
            self.model.expired = self.model.begun;
        }
    }

    async fn step(&mut self, i: usize, random: &mut fastrand::Rng) {
        let Actor { claimed, in_chunk, .. } = self.actors[i];
        match random.u32(0..12) {
            // It crashes; another process takes its place, with a token of its own.
            0 => {
                self.roll_back(i).await;
                self.actors[i].owner = random.i64(..);
            }
            1 | 2 => self.expire().await,
            _ if in_chunk => self.record(i, random.u32(0..4) > 0).await,
            _ if claimed.is_some() => self.chunk(i).await,
            _ => self.claim(i).await,
        }
    }
}

/// Counts that arrive late, from a connection that their owner gave up, change nothing.
async fn a_chunk_counts_once(client: &Client) {
    let text = "/*+++\nmode = \"write\"\nresult = \"affected\"\n+++*/ DELETE FROM effects";
    let query = &Query::parse("once", text).unwrap();
    let holder = Holder { job: "once", run: "r", owner: 1, lease: LEASE, input: "", release: true };
    holder.claim(client, query).await.unwrap();
    let pause = Duration::ZERO;
    let entry = |before| Entry {
        done: query,
        before,
        step: 1,
        query,
        step_chunks: 1,
        rows: 1,
        finished: false,
        pause,
    };
    let limits = SessionLimits::default();
    holder.record(client, &limits, entry(0), Ending::Alone).await.unwrap();
    let late = holder.record(client, &limits, entry(0), Ending::Alone).await;
    assert!(matches!(late, Err(Undone::LeaseLost)), "{late:?}");
    let Claim::Mine(at) = holder.claim(client, query).await.unwrap() else { panic!() };
    assert_eq!((at.chunks, at.rows), (1, 1));
    holder.record(client, &limits, entry(1), Ending::Alone).await.unwrap();
}

#[tokio::test]
async fn no_schedule_of_crashes_breaks_the_model() {
    let schedules: usize = std::env::var("MODEL").map_or(80, |text| text.parse().unwrap());
    let seed =
        std::env::var("SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().unwrap());
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let postgres = Postgres::start(folder.path()).await.unwrap();
    let admin = postgres.superuser("postgres").await.unwrap();
    let script = include_str!("../../../../sql/jobs.sql").replace("\\set ON_ERROR_STOP on", "");
    admin.batch_execute(&script).await.unwrap();
    admin.batch_execute("CREATE TABLE effects (run text)").await.unwrap();
    let mut clients = Vec::new();
    for _ in 0..ACTORS {
        clients.push(postgres.superuser("postgres").await.unwrap());
    }
    let text =
        "/*+++\nmode = \"write\"\nresult = \"affected\"\nparams = [{ name = \"run\" }]\n+++*/
        INSERT INTO effects VALUES ($1)";
    let (mut takeovers, mut lost, mut finished) = (0, 0, 0);
    for number in 0..schedules {
        let mut schedule = Schedule {
            clients: &clients,
            admin: &admin,
            run: format!("run-{number}"),
            query: Query::parse("effect", text).unwrap(),
            actors: [(); ACTORS].map(|()| Actor { owner: random.i64(..), ..Actor::default() }),
            model: Model::default(),
            takeovers: 0,
            lost: 0,
        };
        for _ in 0..STEPS {
            let i = random.usize(0..ACTORS);
            schedule.step(i, &mut random).await;
        }
        for i in 0..ACTORS {
            schedule.roll_back(i).await;
        }
        let sql = "SELECT (SELECT count(*) FROM effects WHERE run = $1),
            (SELECT coalesce(sum(chunks), 0)::bigint FROM job_runs WHERE run = $1),
            (SELECT coalesce(bool_or(status = 'finished'), false) FROM job_runs WHERE run = $1)";
        let row = admin.query_one(sql, &[&schedule.run]).await.unwrap();
        let expected = (schedule.model.chunks as i64, schedule.model.chunks as i64);
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), expected, "SEED={seed}, {number}");
        assert_eq!(row.get::<_, bool>(2), schedule.model.finished, "SEED={seed}, {number}");
        takeovers += schedule.takeovers;
        lost += schedule.lost;
        finished += usize::from(schedule.model.finished);
    }
    a_chunk_counts_once(&clients[0]).await;
    println!(
        "{schedules} schedules: {finished} finished, {takeovers} takeovers, {lost} lost leases"
    );
    assert!(takeovers > schedules / 2 && lost > schedules / 20 && finished > 0);
    postgres.stop().await.unwrap();
}
