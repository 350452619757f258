//! The text of values in PostgreSQL's binary form, byte for byte as its output functions write it.
//!
//! Each function names the one of PostgreSQL that it follows, and returns `None` for bytes that no value of
//! the type has. tests/it/texts.rs compares them with the server's own text.

use rds_iam::postgres::Output;

/// The form of dates and times.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// `2026-01-01 17:00:00+00`, of `DateStyle` ISO.
    Iso,
    /// `2026-01-01T17:00:00+00:00`, of XML Schema, as JSON has it.
    Xsd,
}

const DAY: i64 = 86_400_000_000;

/// Writes a value of a kind whose text no format escapes, and that has no other differences between formats than
/// this style.
pub(crate) fn plain(kind: Output, raw: &[u8], style: Style, out: &mut Vec<u8>) -> Option<()> {
    match kind {
        Output::Int16 => integer(i16::from_be_bytes(bytes(raw)?).into(), out),
        Output::Int32 => integer(i32::from_be_bytes(bytes(raw)?).into(), out),
        Output::Int64 => integer(i64::from_be_bytes(bytes(raw)?), out),
        // `oidout`: it has no sign.
        Output::Oid => integer(u32::from_be_bytes(bytes(raw)?).into(), out),
        Output::Uuid => uuid(raw, out)?,
        Output::Date => date(raw, out)?,
        Output::Time => clock(i64::from_be_bytes(bytes(raw)?), out),
        Output::Timestamp => timestamp(raw, false, style, out)?,
        Output::TimestampTz => timestamp(raw, true, style, out)?,
        Output::Bool
        | Output::Numeric
        | Output::Text
        | Output::Bytes
        | Output::Json
        | Output::Jsonb => return None,
    }
    Some(())
}

fn integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn bytes<const N: usize>(raw: &[u8]) -> Option<[u8; N]> {
    raw.try_into().ok()
}

/// `uuid_out`.
fn uuid(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let raw: [u8; 16] = bytes(raw)?;
    for (index, part) in
        [&raw[..4], &raw[4..6], &raw[6..8], &raw[8..10], &raw[10..]].iter().enumerate()
    {
        if index > 0 {
            out.push(b'-');
        }
        hex(part, out);
    }
    Some(())
}

/// `jsonb_out`: its binary form is its text behind the number of a version.
pub(crate) fn jsonb(raw: &[u8]) -> Option<&[u8]> {
    raw.strip_prefix(&[1])
}

/// Two digits for each byte, as `byteaout` writes them behind `\x`.
pub(crate) fn hex(raw: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend(
        raw.iter()
            .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
    );
}

/// `numeric_out`. Returns whether it is a number, and not NaN or infinite.
pub(crate) fn numeric(raw: &[u8], out: &mut Vec<u8>) -> Option<bool> {
    let (head, digits) = raw.split_at_checked(8)?;
    let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (count, weight, scale) = (usize::from(word(0)), word(2).cast_signed(), word(6));
    match word(4) {
        0x0000 => {}
        0x4000 => out.push(b'-'),
        0xc000 => return written(b"NaN", out),
        0xd000 => return written(b"Infinity", out),
        0xf000 => return written(b"-Infinity", out),
        _ => return None,
    }
    if digits.len() != 2 * count {
        return None;
    }
    // The digit of base 10,000 with this weight.
    let digit = |at: i32| {
        let index = usize::try_from(i32::from(weight) - at).ok();
        let pair = index.and_then(|index| digits.get(2 * index..2 * index + 2));
        pair.map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]))
    };
    if weight < 0 {
        out.push(b'0');
    } else {
        integer(digit(weight.into()).into(), out);
        for at in (0..i32::from(weight)).rev() {
            out.extend_from_slice(&four(digit(at)));
        }
    }
    let mut left = usize::from(scale);
    if left > 0 {
        out.push(b'.');
    }
    let mut at = -1;
    while left > 0 {
        let shown = left.min(4);
        out.extend_from_slice(&four(digit(at))[..shown]);
        left -= shown;
        at -= 1;
    }
    Some(true)
}

fn written(text: &[u8], out: &mut Vec<u8>) -> Option<bool> {
    out.extend_from_slice(text);
    Some(false)
}

fn four(value: u16) -> [u8; 4] {
    let digit = |unit| b'0' + u8::try_from(value / unit % 10).unwrap_or_default();
    [digit(1000), digit(100), digit(10), digit(1)]
}

fn two(value: i64, out: &mut Vec<u8>) {
    let digit = |unit| b'0' + u8::try_from(value / unit % 10).unwrap_or_default();
    out.extend_from_slice(&[digit(10), digit(1)]);
}

/// `date_out`, the same in both styles.
fn date(raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let days = i32::from_be_bytes(bytes(raw)?);
    if !endless(days == i32::MAX, days == i32::MIN, out) && day(days.into(), out) {
        out.extend_from_slice(b" BC");
    }
    Some(())
}

/// `timestamp_out`, or `timestamptz_out` in the time zone UTC.
fn timestamp(raw: &[u8], utc: bool, style: Style, out: &mut Vec<u8>) -> Option<()> {
    let micros = i64::from_be_bytes(bytes(raw)?);
    if endless(micros == i64::MAX, micros == i64::MIN, out) {
        return Some(());
    }
    let before_christ = day(micros.div_euclid(DAY), out);
    out.push(if style == Style::Xsd { b'T' } else { b' ' });
    clock(micros.rem_euclid(DAY), out);
    if utc {
        out.extend_from_slice(if style == Style::Xsd { b"+00:00" } else { b"+00" });
    }
    if before_christ {
        out.extend_from_slice(b" BC");
    }
    Some(())
}

fn endless(future: bool, past: bool, out: &mut Vec<u8>) -> bool {
    if past {
        out.push(b'-');
    }
    if future || past {
        out.extend_from_slice(b"infinity");
    }
    future || past
}

/// Writes a day, counted from 2000-01-01, and returns whether its year is one before Christ.
///
/// By <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>: years begin in March.
fn day(days: i64, out: &mut Vec<u8>) -> bool {
    const SINCE_MARCH_OF_YEAR_0: i64 = 730_425;
    let days = days + SINCE_MARCH_OF_YEAR_0;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    // The year before 1 is 1 BC.
    let shown = if year > 0 { year } else { 1 - year };
    if shown < 10_000 {
        two(shown / 100, out);
        two(shown % 100, out);
    } else {
        integer(shown, out);
    }
    out.push(b'-');
    two(month, out);
    out.push(b'-');
    two(day, out);
    year <= 0
}

/// `time_out`: a time of day, without the zeros at its end.
fn clock(micros: i64, out: &mut Vec<u8>) {
    let seconds = micros / 1_000_000;
    two(seconds / 3600, out);
    out.push(b':');
    two(seconds / 60 % 60, out);
    out.push(b':');
    two(seconds % 60, out);
    let mut fraction = micros % 1_000_000;
    if fraction > 0 {
        out.push(b'.');
        while fraction > 0 {
            out.push(b'0' + u8::try_from(fraction / 100_000).unwrap_or_default());
            fraction = fraction % 100_000 * 10;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>) -> Option<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn days_are_counted_from_2000() {
        for (days, expected) in [
            (0, "2000-01-01"),
            (59, "2000-02-29"),
            (-1, "1999-12-31"),
            (2_921_939, "9999-12-31"),
            (2_921_940, "10000-01-01"),
            (-730_119, "0001-01-01"),
            (-730_120, "0001-12-31 BC"),
            (-2_451_507, "4713-01-01 BC"),
            (i32::MAX, "infinity"),
            (i32::MIN, "-infinity"),
        ] {
            assert_eq!(text(|out| date(&days.to_be_bytes(), out)), expected);
        }
    }

    #[test]
    fn times_have_the_digits_that_they_need() {
        let stamp =
            |micros: i64, style| text(|out| timestamp(&micros.to_be_bytes(), true, style, out));
        assert_eq!(stamp(1, Style::Iso), "2000-01-01 00:00:00.000001+00");
        assert_eq!(stamp(-DAY, Style::Xsd), "1999-12-31T00:00:00+00:00");
        assert_eq!(stamp(-500_000, Style::Xsd), "1999-12-31T23:59:59.5+00:00");
        assert_eq!(
            text(|out| plain(Output::Time, &DAY.to_be_bytes(), Style::Iso, out)),
            "24:00:00"
        );
    }

    #[test]
    fn a_numeric_keeps_its_scale() {
        let shown = |weight: i16, sign: u16, scale: u16, digits: &[u16]| {
            let count = u16::try_from(digits.len()).unwrap();
            let head = [count, weight.cast_unsigned(), sign, scale];
            let raw: Vec<u8> = head.iter().chain(digits).flat_map(|w| w.to_be_bytes()).collect();
            text(|out| numeric(&raw, out).map(|_| ()))
        };
        assert_eq!(shown(0, 0, 2, &[12, 3400]), "12.34");
        assert_eq!(shown(1, 0x4000, 3, &[1, 0, 500]), "-10000.050");
        assert_eq!(shown(-1, 0, 5, &[100]), "0.01000");
        assert_eq!(shown(-2, 0, 8, &[7]), "0.00000007");
        assert_eq!(shown(2, 0, 0, &[5]), "500000000");
        assert_eq!(shown(0, 0, 3, &[]), "0.000");
        assert_eq!(shown(0, 0xc000, 0, &[]), "NaN");
        assert_eq!(shown(0, 0xf000, 0, &[]), "-Infinity");
    }

    #[test]
    fn bytes_that_no_value_has_are_refused() {
        let mut out = Vec::new();
        assert_eq!(uuid(&[0; 15], &mut out), None);
        assert_eq!(date(&[0; 3], &mut out), None);
        assert_eq!(numeric(&[0, 1, 0, 0, 0, 0, 0, 0], &mut out), None);
        assert_eq!(numeric(&[0; 7], &mut out), None);
    }
}
