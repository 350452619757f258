//! When a session of RDS Proxy is pinned: a statement that PostgreSQL has skipped, refused or not found pins
//! nothing, so each reason waits for the answer that ends its statement.

use std::collections::VecDeque;

use super::frames::Frame;
use super::proxy;

/// An answer that is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The end of a statement, and why its text pins.
    End(Option<&'static str>),
    /// ReadyForQuery.
    Ready,
}

/// The answers to what a client has asked to run, in order.
#[derive(Debug, Default)]
pub(super) struct Pins {
    expected: VecDeque<Expected>,
    /// After an error, PostgreSQL skips everything up to a Sync.
    skips: bool,
}

impl Pins {
    /// The client runs statements with these reasons to pin.
    pub(super) fn run(&mut self, pins: impl IntoIterator<Item = Option<&'static str>>) {
        if !self.skips {
            self.expected.extend(pins.into_iter().map(Expected::End));
        }
    }

    /// The client has sent a message whose answers end with ReadyForQuery: a Sync, or another.
    pub(super) fn ready(&mut self, is_sync: bool) {
        self.skips &= !is_sync;
        if !self.skips {
            self.expected.push_back(Expected::Ready);
        }
    }

    /// PostgreSQL takes the data of a COPY, and with a Query's, the rest of that Query is still to come. It
    /// ignores each Sync that was sent already.
    pub(super) fn copies(&mut self, is_query: bool) {
        let ready = self.expected.iter().position(|next| *next == Expected::Ready);
        let kept = if is_query { ready.map_or(self.expected.len(), |at| at + 1) } else { 1 };
        self.expected.truncate(kept);
    }

    /// Takes a message of PostgreSQL's. Returns why the statement pins that it has run.
    pub(super) fn answered(&mut self, frame: Frame<'_>) -> Option<&'static str> {
        match frame.kind {
            b'C' => {
                let why = self.end();
                proxy::pins_by_tag(frame.start).or(why)
            }
            // PortalSuspended: it has run, if not to its end.
            b's' => self.end(),
            b'I' => {
                self.end();
                None
            }
            b'E' => {
                while self.is_end() {
                    self.expected.pop_front();
                }
                self.skips = self.expected.is_empty();
                None
            }
            b'Z' => {
                while self.is_end() {
                    self.expected.pop_front();
                }
                self.expected.pop_front();
                None
            }
            _ => None,
        }
    }

    fn is_end(&self) -> bool {
        matches!(self.expected.front(), Some(Expected::End(_)))
    }

    /// The next statement has come to its end.
    fn end(&mut self) -> Option<&'static str> {
        match self.expected.front() {
            Some(Expected::End(why)) => {
                let why = *why;
                self.expected.pop_front();
                why
            }
            _ => None,
        }
    }
}
