//! Faults that can be switched on and off while connections are open.

use std::io;

use tokio::sync::watch;

/// A fault of the network or of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Fault {
    /// Nothing
    #[default]
    None,
    /// Connections stay open and silent, in both directions
    Stall,
    /// Open connections go silent for good, as after a freeze or a firewall's time-out; new ones work
    Drop,
    /// Connections are reset, open ones and new ones
    Reset,
    /// New connections are refused; open ones continue to work
    Refuse,
    /// Connections are reset after TLS, before the server asks for a token
    ResetBeforeLogin,
    /// Connections are reset when the client has sent a query, or prepares or binds one, before
    /// the database receives it
    ResetBeforeQuery,
    /// Connections are reset when the database has run a query, before the client receives the answer
    ResetBeforeAnswer,
    /// Connections are reset when the database has run COMMIT (in whatever form: END, COMMIT AND CHAIN,
    /// both halves of a two-phase commit), before the client receives the answer
    ResetAtCommit,
    /// Each login takes two seconds
    SlowLogin,
    /// Every login is refused, as if throttled
    Throttle,
    /// PostgreSQL restarts, once
    Restart,
    /// PostgreSQL refuses writes, as an old writer does after a failover
    ReadOnly,
    /// Open connections can no longer write, new ones can, as after a failover
    Failover,
}

/// The effect of a fault on an answer of the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// It passes, and so does what was held.
    Pass,
    /// It waits until it is clear whether a COMMIT has run.
    Hold,
    /// The client never gets it; on MySQL, unless the server asks for a file behind it.
    Withhold,
    /// The connection is reset.
    Reset,
}

/// The fault that is on, and how often open connections were silenced.
#[derive(Clone, Copy, Debug)]
struct State {
    fault: Fault,
    once: bool,
    drops: u64,
}

/// The faults of one gate.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    state: watch::Sender<State>,
}

impl Faults {
    pub(super) fn new(fault: Fault) -> Self {
        let faults = Self { state: watch::Sender::new(State { fault, once: false, drops: 0 }) };
        faults.set(fault, false);
        faults
    }

    /// Switches a fault on, which replaces the one before. With `once`, only the first connection
    /// that meets the fault has it.
    pub(super) fn set(&self, fault: Fault, once: bool) {
        self.state.send_modify(|state| match fault {
            Fault::Drop => state.drops += 1,
            _ => *state = State { fault, once, ..*state },
        });
    }

    /// Whether this fault is on. Unlike [`Faults::hits`], the question does not use it up.
    pub(super) fn is_on(&self, fault: Fault) -> bool {
        self.state.borrow().fault == fault
    }

    /// Whether a fault is on that strikes by the meaning of statements.
    pub(super) fn strike_statements(&self) -> bool {
        let fault = self.state.borrow().fault;
        matches!(fault, Fault::ResetBeforeQuery | Fault::ResetBeforeAnswer | Fault::ResetAtCommit)
    }

    /// Whether this fault is on at the point that a connection has reached.
    pub(super) fn hits(&self, point: Fault) -> bool {
        let mut hit = false;
        self.state.send_if_modified(|state| {
            hit = state.fault == point;
            if hit && state.once {
                state.fault = Fault::None;
            }
            hit && state.once
        });
        hit
    }

    pub(super) fn watch(&self) -> Watch {
        let state = self.state.subscribe();
        let drops = state.borrow().drops;
        Watch { state, drops }
    }
}

/// The faults as one connection sees them, from when it was opened.
#[derive(Clone, Debug)]
pub(super) struct Watch {
    state: watch::Receiver<State>,
    drops: u64,
}

impl Watch {
    /// Returns when bytes may pass: at once, after a stall, or never.
    pub(super) async fn pass(&mut self) {
        let drops = self.drops;
        let passes = |state: &State| state.fault != Fault::Stall && state.drops == drops;
        self.wait(passes).await;
    }

    /// Returns when connections are to be reset.
    pub(super) async fn reset(mut self) {
        self.wait(|state| state.fault == Fault::Reset).await;
    }

    /// Returns when this connection is to go silent for good.
    pub(super) async fn dropped(mut self) {
        let drops = self.drops;
        self.wait(|state| state.drops != drops).await;
    }

    /// Returns when connections are refused, or when they no longer are.
    pub(super) async fn refuses(&mut self, refused: bool) {
        self.wait(|state| (state.fault == Fault::Refuse) == refused).await;
    }

    async fn wait(&mut self, until: impl Fn(&State) -> bool) {
        if self.state.wait_for(|state| until(state)).await.is_err() {
            // The gate is gone, and its connections with it.
            std::future::pending::<()>().await;
        }
    }
}

/// The end of a session: a side that closes without a goodbye ends it like any other, and only a fault is
/// an error.
pub(super) fn only_reset<T>(ended: io::Result<T>) -> io::Result<Option<T>> {
    match ended {
        Ok(ended) => Ok(Some(ended)),
        Err(error) if is_reset(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Ends a connection by a reset.
#[derive(Debug)]
pub(super) struct Reset;

impl std::fmt::Display for Reset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("connection reset: fault injection")
    }
}

impl std::error::Error for Reset {}

impl From<Reset> for io::Error {
    fn from(reset: Reset) -> Self {
        Self::new(io::ErrorKind::ConnectionReset, reset)
    }
}

/// Whether a connection ended because it was to be reset.
pub(super) fn is_reset(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Reset>())
}
