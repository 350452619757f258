//! Where a session stands, from the packets of both sides: what faults depend on, and which packets of the
//! client's are commands.

use std::collections::{HashMap, VecDeque};

use super::answer::{Answer, NO_BACKSLASH_ESCAPES, Told};
use super::asked::{Command, LAST_PREPARED, Meaning};
use super::packet::{FULL, Packet};
use crate::gate::faults::{Fault, Faults, Passage};
use crate::gate::sql::Dialect;

/// The state of one session.
#[derive(Debug)]
pub(super) struct Traffic {
    /// A command's answer each, in the order of the commands.
    pending: VecDeque<Pending>,
    prepared: HashMap<u32, Meaning>,
    prepared_last: Meaning,
    /// The number of the next packet of a file that the server has asked for.
    file: Option<u8>,
    /// The server's status.
    status: u16,
    /// The end of rows has the form of an OK packet.
    end_is_ok: bool,
    /// The client has sent COM_QUIT.
    pub(super) is_quit: bool,
}

#[derive(Debug)]
struct Pending {
    answer: Answer,
    meaning: Meaning,
    strike: Option<Strike>,
}

/// When an answer that is held is withheld for good, at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strike {
    Always,
    /// If the statement of this index has had a result.
    AfterCommit(usize),
}

/// The treatment of one packet of the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Pass,
    /// It is a command with all of its SQL.
    PassSql(Dialect),
    /// The connection is reset.
    Reset,
    /// It asks to log in as another user.
    Refuse,
}

impl Traffic {
    pub(super) fn new(status: u16, end_is_ok: bool) -> Self {
        Self {
            pending: VecDeque::new(),
            prepared: HashMap::new(),
            prepared_last: Meaning::UNKNOWN,
            file: None,
            status,
            end_is_ok,
            is_quit: false,
        }
    }

    /// Takes a packet of the client's on its way to the server.
    pub(super) fn sent(&mut self, packet: &Packet, faults: &Faults) -> Sent {
        if self.is_of_file(packet) || packet.is_rest {
            return Sent::Pass;
        }
        let dialect = Dialect::Mysql { escapes: self.status & NO_BACKSLASH_ESCAPES == 0 };
        let is_cut = packet.body.len() == FULL;
        let sql = if is_cut { Sent::Pass } else { Sent::PassSql(dialect) };
        match Command::parse(&packet.body) {
            Command::Quit => self.is_quit = true,
            Command::ChangeUser => return Sent::Refuse,
            Command::Query(text) => {
                // Without such a fault, nobody asks for the meaning.
                let meaning = match faults.strike_statements() {
                    true => Meaning::of(text, dialect, is_cut),
                    false => Meaning::default(),
                };
                return if self.runs(meaning, faults) { Sent::Reset } else { sql };
            }
            Command::Prepare(text) => {
                let meaning = Meaning::of(text, dialect, is_cut);
                if meaning.queries && faults.hits(Fault::ResetBeforeQuery) {
                    return Sent::Reset;
                }
                self.prepared_last = meaning;
                self.pending.push_back(Pending { answer: Answer::PREPARED, meaning, strike: None });
                return sql;
            }
            Command::Execute(number) => {
                let known = match number {
                    LAST_PREPARED => Some(&self.prepared_last),
                    number => self.prepared.get(&number),
                };
                let meaning = known.copied().unwrap_or(Meaning::UNKNOWN);
                if self.runs(meaning, faults) {
                    return Sent::Reset;
                }
            }
            Command::Close(number) => {
                self.prepared.remove(&number);
            }
            Command::LongData => {}
            Command::List => self.expect(Answer::LIST),
            Command::ProcessInfo => self.expect(Answer::RESULTS),
            Command::ResetConnection => {
                self.prepared.clear();
                self.expect(Answer::ONLY);
            }
            Command::Other => self.expect(Answer::ONLY),
        }
        Sent::Pass
    }

    /// Whether a packet is a part of the file that the server has asked for, which ends with an empty one.
    fn is_of_file(&mut self, packet: &Packet) -> bool {
        // The server itself takes no other number.
        let Some(number) = self.file.filter(|number| *number == packet.sequence) else {
            return false;
        };
        let is_end = packet.body.is_empty() && !packet.is_rest;
        self.file = (!is_end).then(|| number.wrapping_add(1));
        true
    }

    fn expect(&mut self, answer: Answer) {
        let meaning = Meaning::default();
        self.pending.push_back(Pending { answer, meaning, strike: None });
    }

    /// A statement of this meaning is on its way. Returns whether the connection is reset instead.
    fn runs(&mut self, meaning: Meaning, faults: &Faults) -> bool {
        if meaning.queries && faults.hits(Fault::ResetBeforeQuery) {
            return true;
        }
        let strike = if meaning.queries && faults.hits(Fault::ResetBeforeAnswer) {
            Some(Strike::Always)
        } else {
            let commit = meaning.commits.filter(|_| faults.is_on(Fault::ResetAtCommit));
            commit.map(Strike::AfterCommit)
        };
        self.pending.push_back(Pending { answer: Answer::RESULTS, meaning, strike });
        false
    }

    /// Takes a packet of the server's on its way to the client.
    pub(super) fn answered(&mut self, packet: &Packet, faults: &Faults) -> Passage {
        // Nobody has asked: the server says why it ends the session.
        let Some(front) = self.pending.front_mut() else { return Passage::Pass };
        let mut told = Told::default();
        if !packet.is_rest {
            told = front.answer.take(&packet.body, self.end_is_ok);
            self.file = told.asks_file.then(|| packet.sequence.wrapping_add(1));
        }
        self.status = told.status.unwrap_or(self.status);
        if let Some(number) = told.prepared {
            self.prepared.insert(number, front.meaning);
        }
        let (strike, results) = (front.strike, front.answer.results);
        if told.is_last {
            self.pending.pop_front();
        }
        match strike {
            None => Passage::Pass,
            // Without it, the server waits for the client for ever.
            Some(_) if told.asks_file => Passage::Pass,
            Some(Strike::Always) if told.is_last => Passage::Reset,
            Some(Strike::Always) => Passage::Withhold,
            Some(Strike::AfterCommit(_)) if !told.is_last => Passage::Hold,
            Some(Strike::AfterCommit(index)) => {
                let is_struck = results > index && faults.hits(Fault::ResetAtCommit);
                if is_struck { Passage::Reset } else { Passage::Pass }
            }
        }
    }

    /// Whether an answer is on its way that the client may not have.
    pub(super) fn is_withheld(&self) -> bool {
        self.pending.front().is_some_and(|front| front.strike == Some(Strike::Always))
    }
}
