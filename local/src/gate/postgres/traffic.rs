//! Where a session stands, from the messages of both sides: faults and pins depend on it.

use super::asked::{Asked, Prepared, is_commit_tag};
use super::frames::Frame;
use super::pins::Pins;
use crate::gate::faults::{Fault, Faults, Passage};
use crate::gate::sql::Dialect;

/// The state of one session.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    prepared: Prepared,
    pins: Pins,
    /// A backslash escapes in a plain string: standard_conforming_strings is off.
    escapes: bool,
    /// Messages ReadyForQuery that the client has asked for, one by each Query and Sync, and those that came.
    asked: usize,
    ready: usize,
    /// Messages Execute since the last Sync whose answers are still to come.
    running: usize,
    /// The answers are to be withheld, and the connection reset after the last.
    is_withheld: bool,
    /// A COMMIT was sent while [`Fault::ResetAtCommit`] was on: nothing passes before its answer.
    is_held: bool,
    /// The ReadyForQuery behind the last statement that a fault strikes.
    struck: usize,
    /// The same, once the client has sent the data of its COPY.
    is_withheld_after_copy: bool,
    /// Whether what the client last ran was a Query: its answers end with a ReadyForQuery, without a Sync.
    is_query: bool,
    /// PostgreSQL takes the data of a COPY, and ignores each Sync.
    is_copying: bool,
    /// The client has sent Terminate.
    pub(super) is_terminated: bool,
}

impl Traffic {
    /// Takes a message of the client's on its way to PostgreSQL. Returns whether the connection is to be
    /// reset before it gets there.
    pub(super) fn sent(&mut self, frame: Frame<'_>, faults: &Faults) -> bool {
        let dialect = Dialect::Postgres { escapes: self.escapes };
        let asked = self.prepared.asks(frame, dialect);
        if let Asked::Run(meaning) = &asked {
            match frame.kind {
                b'Q' => self.pins.run(meaning.pins.iter().copied()),
                b'E' => self.pins.run([meaning.pins.first().copied().flatten()]),
                // The answer to a function call has no end of its own.
                _ => {}
            }
        }
        match frame.kind {
            // Each ends what is open, and is answered up to a ReadyForQuery.
            b'S' if self.is_copying => {}
            b'Q' | b'F' | b'S' => {
                self.pins.ready(frame.kind == b'S');
                (self.asked, self.running) = (self.asked + 1, 0);
                self.is_query = self.is_query && frame.kind == b'S' || frame.kind == b'Q';
            }
            b'E' => {
                self.running += 1;
                self.is_query = false;
            }
            b'c' | b'f' => {
                self.is_copying = false;
                self.is_withheld |= std::mem::take(&mut self.is_withheld_after_copy);
            }
            b'X' => self.is_terminated = true,
            _ => {}
        }
        match asked {
            Asked::Prepare(meaning) => meaning.queries && faults.hits(Fault::ResetBeforeQuery),
            Asked::Run(meaning) => {
                let reset = meaning.queries && faults.hits(Fault::ResetBeforeQuery);
                let withheld = meaning.queries && faults.hits(Fault::ResetBeforeAnswer);
                let held = meaning.commits && faults.is_on(Fault::ResetAtCommit);
                if withheld || held {
                    // An Execute's comes with the Sync behind it.
                    self.struck = self.asked + usize::from(frame.kind == b'E');
                }
                self.is_withheld |= withheld;
                self.is_held |= held;
                reset
            }
            Asked::Other => false,
        }
    }

    /// Takes ParameterStatus, and leaves other messages of PostgreSQL's.
    pub(super) fn told(&mut self, frame: Frame<'_>) {
        if frame.kind == b'S' && frame.bytes(0) == b"standard_conforming_strings" {
            self.escapes = frame.bytes(1) == b"off";
        }
    }

    /// Takes a message of PostgreSQL's. Returns why RDS Proxy would pin the session now.
    pub(super) fn pinned(&mut self, frame: Frame<'_>) -> Option<&'static str> {
        if let (b'G' | b'W', is_query) = (frame.kind, self.is_query) {
            self.pins.copies(is_query);
        }
        self.pins.answered(frame)
    }

    /// Takes a message of PostgreSQL's. Returns whether the connection is to be reset before it gets to
    /// the client.
    pub(super) fn answered(&mut self, frame: Frame<'_>, faults: &Faults) -> bool {
        self.told(frame);
        match frame.kind {
            b'Z' => {
                self.ready += 1;
                // A Sync that PostgreSQL was thought to ignore, but had read after the end of a COPY.
                self.asked = self.asked.max(self.ready);
                let is_over = self.ready >= self.struck;
                self.is_held &= !is_over;
                self.is_withheld && is_over
            }
            // CommandComplete's tag says what has run, whatever the client's text looked like.
            b'C' if is_commit_tag(frame.start) && faults.hits(Fault::ResetAtCommit) => true,
            // CopyInResponse and CopyBothResponse: without them, PostgreSQL waits for the client for ever.
            b'G' | b'W' => {
                self.is_withheld_after_copy |= std::mem::take(&mut self.is_withheld);
                self.is_held = false;
                self.is_copying = true;
                // It has answered everything before, and ignores each Sync that came since.
                self.asked = self.ready + usize::from(self.is_query);
                self.struck = self.ready + 1;
                false
            }
            // CommandComplete, PortalSuspended and EmptyQueryResponse end a run, and ErrorResponse all of them:
            // PostgreSQL skips to the Sync, or ends the COPY.
            b'C' | b's' | b'I' | b'E' => {
                let is_error = frame.kind == b'E';
                self.is_copying &= !is_error;
                self.is_withheld |= is_error && std::mem::take(&mut self.is_withheld_after_copy);
                if self.ready < self.asked {
                    return false;
                }
                self.running = if is_error { 0 } else { self.running.saturating_sub(1) };
                // A client that asked with Flush may wait for this before its Sync.
                self.is_held &= self.running > 0;
                self.is_withheld && self.running == 0
            }
            _ => false,
        }
    }

    /// The treatment of the answers that have just been taken.
    pub(super) fn passage(&self) -> Passage {
        match (self.is_withheld, self.is_held) {
            (true, _) => Passage::Withhold,
            (false, true) => Passage::Hold,
            (false, false) => Passage::Pass,
        }
    }
}
