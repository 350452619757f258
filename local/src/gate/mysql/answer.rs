//! The server's answer to one command, packet by packet, up to its end
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response.html>,
//! <https://mariadb.com/kb/en/result-set-packets/>).

use super::packet::{ERROR, FULL, OK};

const END: u8 = 0xfe;
const FILE: u8 = 0xfb;
/// MariaDB's report of progress has this code of an error.
const PROGRESS: [u8; 3] = [ERROR, 0xff, 0xff];

/// Bits of a server's status.
const MORE_RESULTS: u16 = 1 << 3;
const CURSOR: u16 = 1 << 6;
pub(super) const NO_BACKSLASH_ESCAPES: u16 = 1 << 9;

/// The packet that comes next in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The only packet.
    Only,
    /// The first packet of COM_STMT_PREPARE's answer.
    Prepared,
    /// This many definitions of a prepared statement, with their ends, which are all.
    Definitions(usize),
    /// The first packet of a result.
    Result,
    /// This many definitions of columns.
    Columns(usize),
    /// Their end.
    ColumnsEnd,
    Rows,
}

/// An answer that is still to come, or a part of it.
#[derive(Debug)]
pub(super) struct Answer {
    stage: Stage,
    /// How many results have come to their end, without an error.
    pub(super) results: usize,
}

/// The facts that one packet of an answer tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// It was the last.
    pub(super) is_last: bool,
    /// The server waits for a file of the client's.
    pub(super) asks_file: bool,
    /// The number of the statement that has been prepared.
    pub(super) prepared: Option<u32>,
    pub(super) status: Option<u16>,
}

impl Answer {
    /// One packet.
    pub(super) const ONLY: Self = Self { stage: Stage::Only, results: 0 };
    /// COM_STMT_PREPARE's.
    pub(super) const PREPARED: Self = Self { stage: Stage::Prepared, results: 0 };
    /// Results of statements.
    pub(super) const RESULTS: Self = Self { stage: Stage::Result, results: 0 };
    /// Rows, or definitions, and their end.
    pub(super) const LIST: Self = Self { stage: Stage::Rows, results: 0 };

    /// Takes the next packet. With `end_is_ok` (CLIENT_DEPRECATE_EOF), the end of rows has the form of an
    /// OK packet, and definitions have none.
    pub(super) fn take(&mut self, body: &[u8], end_is_ok: bool) -> Told {
        let first = body.first().copied().unwrap_or_default();
        if body.starts_with(&PROGRESS) {
            return Told::default();
        }
        if first == ERROR {
            return Told { is_last: true, ..Told::default() };
        }
        match self.stage {
            Stage::Only => {
                let status = (first == OK).then(|| status_of_ok(body));
                Told { is_last: true, status, ..Told::default() }
            }
            Stage::Prepared => self.prepared(body, end_is_ok),
            Stage::Definitions(left) => {
                self.stage = Stage::Definitions(left.saturating_sub(1));
                Told { is_last: left <= 1, ..Told::default() }
            }
            Stage::Result if first == OK => self.ends(status_of_ok(body)),
            Stage::Result if first == FILE => Told { asks_file: true, ..Told::default() },
            Stage::Result => {
                let (columns, rest) = length(body);
                // MariaDB's clients may know the definitions already: then a byte tells so.
                self.stage = match (rest.first(), end_is_ok) {
                    (Some(0), true) => Stage::Rows,
                    (Some(0), false) => Stage::ColumnsEnd,
                    _ => Stage::Columns(columns),
                };
                Told::default()
            }
            Stage::Columns(left) => {
                self.stage = match (left, end_is_ok) {
                    (2.., _) => Stage::Columns(left - 1),
                    (_, true) => Stage::Rows,
                    (_, false) => Stage::ColumnsEnd,
                };
                Told::default()
            }
            Stage::ColumnsEnd if status_of_end(body) & CURSOR != 0 => {
                self.ends(status_of_end(body))
            }
            Stage::ColumnsEnd => {
                self.stage = Stage::Rows;
                Told::default()
            }
            // A row that begins so has a first column of 16 MB or more.
            Stage::Rows if first == END && body.len() < FULL => {
                self.ends(if end_is_ok { status_of_ok(body) } else { status_of_end(body) })
            }
            Stage::Rows => Told::default(),
        }
    }

    fn prepared(&mut self, body: &[u8], end_is_ok: bool) -> Told {
        let [_, a, b, c, d, e, f, g, h, ..] = *body else {
            return Told { is_last: true, ..Told::default() };
        };
        let counts = [[e, f], [g, h]].map(|count| usize::from(u16::from_le_bytes(count)));
        let ends = if end_is_ok { 0 } else { 1 };
        let left = counts.iter().filter(|count| **count > 0).map(|count| count + ends).sum();
        self.stage = Stage::Definitions(left);
        let prepared = Some(u32::from_le_bytes([a, b, c, d]));
        Told { is_last: left == 0, prepared, ..Told::default() }
    }

    /// A result has ended with this status of the server.
    fn ends(&mut self, status: u16) -> Told {
        self.results += 1;
        self.stage = Stage::Result;
        let is_last = status & MORE_RESULTS == 0;
        Told { is_last, status: Some(status), ..Told::default() }
    }
}

/// The status in an OK packet: behind the numbers of changed rows and of the last id.
pub(super) fn status_of_ok(body: &[u8]) -> u16 {
    let (_, rest) = length(body.get(1..).unwrap_or_default());
    let (_, rest) = length(rest);
    rest.first_chunk().map_or(0, |status| u16::from_le_bytes(*status))
}

/// The status in an end packet of the older form: behind the number of warnings.
fn status_of_end(body: &[u8]) -> u16 {
    let status = body.get(3..).and_then(|rest| rest.first_chunk());
    status.map_or(0, |status| u16::from_le_bytes(*status))
}

/// An integer of MySQL's variable length, and what is behind it.
fn length(bytes: &[u8]) -> (usize, &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return (0, bytes) };
    let size = match first {
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        small => return (usize::from(*small), rest),
    };
    let (number, rest) = rest.split_at(size.min(rest.len()));
    (number.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MORE: &[u8] = b"\x00\x00\x00\x08\x00\x00\x00";
    const DONE: &[u8] = b"\x00\xfc\x00\x01\x00\x02\x00\x00\x00";
    const END_MORE: &[u8] = b"\xfe\x00\x00\x08\x00";
    const END_DONE: &[u8] = b"\xfe\x00\x00\x02\x00";
    const END_CURSOR: &[u8] = b"\xfe\x00\x00\x40\x00";
    const COLUMN: &[u8] = b"\x03def";
    const FAILED: &[u8] = b"\xff\x15\x04#28000no";

    /// The indexes of the last packets of answers, and how many results each has.
    fn ends(mut answer: Answer, end_is_ok: bool, packets: &[&[u8]]) -> (Vec<usize>, usize) {
        let told = packets.iter().map(|packet| answer.take(packet, end_is_ok).is_last);
        let told: Vec<_> = told.collect();
        let last = (0..told.len()).filter(|at| told[*at]).collect();
        (last, answer.results)
    }

    #[test]
    fn every_answer_ends_with_its_last_packet() {
        use Answer as A;
        let progress = [ERROR, 0xff, 0xff, 1, 1, 1];
        let prepared = b"\x00\x07\x00\x00\x00\x02\x00\x01\x00\x00\x00\x00";
        for (answer, end_is_ok, packets, results) in [
            (A::ONLY, true, vec![DONE], 0),
            (A::ONLY, false, vec![b"Uptime: 1"], 0),
            (A::RESULTS, false, vec![FAILED], 0),
            (A::RESULTS, true, vec![&progress, DONE], 1),
            (A::RESULTS, true, vec![MORE, MORE, DONE], 3),
            (A::RESULTS, true, vec![MORE, FAILED], 1),
            (A::RESULTS, false, vec![b"\xfbfile", DONE], 1),
            // Columns, their end, rows (one NULL, one of the binary protocol), the end.
            (
                A::RESULTS,
                false,
                vec![b"\x02", COLUMN, COLUMN, END_DONE, FILE_ROW, MORE, END_DONE],
                1,
            ),
            (A::RESULTS, true, vec![b"\x01", COLUMN, FILE_ROW, b"\xfe\0\0\x02\0\0\0"], 1),
            (
                A::RESULTS,
                false,
                vec![b"\x01", COLUMN, END_DONE, END_MORE, b"\x01", COLUMN, END_DONE, FAILED],
                1,
            ),
            (A::RESULTS, false, vec![b"\x01", COLUMN, END_CURSOR], 1),
            (A::RESULTS, true, vec![b"\x01\x00", b"\x01a", b"\xfe\0\0\x02\0\0\0"], 1),
            (A::RESULTS, true, vec![b"\x01\x01", COLUMN, b"\x01a", b"\xfe\0\0\x02\0\0\0"], 1),
            (A::LIST, false, vec![COLUMN, COLUMN, END_DONE], 1),
            (A::PREPARED, false, vec![prepared, COLUMN, END_DONE, COLUMN, COLUMN, END_DONE], 0),
            (A::PREPARED, true, vec![prepared, COLUMN, COLUMN, COLUMN], 0),
            (A::PREPARED, true, vec![b"\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"], 0),
            (A::PREPARED, true, vec![FAILED], 0),
        ] {
            let expected = (vec![packets.len() - 1], results);
            assert_eq!(ends(answer, end_is_ok, &packets), expected, "{packets:?}");
        }
    }

    /// A row whose first column is NULL looks like the question for a file.
    const FILE_ROW: &[u8] = b"\xfb\x01a";

    #[test]
    fn a_packet_tells_the_servers_status_and_numbers() {
        let [mut result, mut list, mut prepared] =
            [Answer::RESULTS, Answer::LIST, Answer::PREPARED];
        let told = result.take(b"\xfb/tmp/a", true);
        assert!(told.asks_file && !told.is_last);
        assert!(!list.take(FILE_ROW, true).asks_file);
        let told = prepared.take(b"\x00\x07\x01\x00\x00\x00\x00\x00\x00", true);
        assert_eq!(told.prepared, Some(0x107));
        assert_eq!(status_of_ok(DONE), 2);
        for length in 0..9 {
            let [mut result, mut prepared] = [Answer::RESULTS, Answer::PREPARED];
            prepared.take(&MORE.repeat(2)[..length], true);
            result.take(&b"\xfe\xfe\xfe\xfe\xfe\xfe\xfe\xfe\xfe"[..length], true);
            status_of_ok(&DONE[..length]);
        }
    }
}
