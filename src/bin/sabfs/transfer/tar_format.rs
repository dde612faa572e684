//! What tar archives are made of: headers of 512 bytes, and PAX records, which say what those cannot.
//!
//! Numbers and checksums of headers are the `tar` crate's. Records are read here by their lengths, because
//! names and attributes may hold newlines.

use tar::{EntryType, Header};

/// Everything in an archive begins at a multiple of this.
pub const BLOCK_BYTES: usize = 512;

/// One record of an extended header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it says.
    pub key: Vec<u8>,
    /// Its value, any bytes.
    pub value: Vec<u8>,
}

/// Reads the records of an extended header: "LENGTH KEY=VALUE\n", the length counting all of it.
pub fn parse_records(mut bytes: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    // Some writers pad with zeros.
    while bytes.first().is_some_and(|&byte| byte != 0) {
        let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
        let len: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        if len <= space + 1 {
            return None;
        }
        let body = bytes.get(space + 1..len)?.strip_suffix(b"\n")?;
        let equals = body.iter().position(|&byte| byte == b'=')?;
        records.push(Record { key: body[..equals].to_vec(), value: body[equals + 1..].to_vec() });
        bytes = &bytes[len..];
    }
    Some(records)
}

/// Adds a record to an extended header.
pub fn push_record(header: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // Space, equals sign and newline.
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    // The length counts its own digits, of which there may be one more for that.
    while rest + len.to_string().len() != len {
        len = rest + len.to_string().len();
    }
    header.extend(len.to_string().bytes());
    header.push(b' ');
    header.extend(key);
    header.push(b'=');
    header.extend(value);
    header.push(b'\n');
}

/// A time as a record has it: seconds with a fraction; none if it is not one or too far away.
pub fn parse_time(value: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(value).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) {
        return None;
    }
    let fraction: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let seconds: i128 = seconds.parse::<i64>().ok()?.into();
    let ns = seconds * 1_000_000_000 + i128::from(fraction.parse::<u32>().ok()?);
    i64::try_from(if negative { -ns } else { ns }).ok()
}

/// A time for a record.
pub fn format_time(time_ns: i64) -> String {
    let sign = if time_ns < 0 { "-" } else { "" };
    let ns = time_ns.unsigned_abs();
    let (seconds, ns) = (ns / 1_000_000_000, ns % 1_000_000_000);
    if ns == 0 { format!("{sign}{seconds}") } else { format!("{sign}{seconds}.{ns:09}") }
}

/// The time of a header in seconds. GNU tar writes what the octal digits cannot say as a binary number of
/// two's complement, behind a bit that tells so.
pub fn header_time(header: &Header) -> Option<i64> {
    let field = &header.as_bytes()[136..148];
    if field[0] & 0x80 == 0 {
        return i64::try_from(header.mtime().ok()?).ok();
    }
    // The bit below the one that tells is the sign.
    let first = i128::from((field[0] << 1).cast_signed() >> 1);
    let number = field[1..].iter().fold(first, |number, &byte| number << 8 | i128::from(byte));
    i64::try_from(number).ok()
}

/// A number of a record.
pub fn parse_number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Whether a header's checksum is right. Some old writers added up signed bytes.
pub fn checksum_is_right(header: &Header) -> bool {
    let bytes = header.as_bytes();
    let blank = |index: usize, byte: u8| if (148..156).contains(&index) { b' ' } else { byte };
    let unsigned: u32 = bytes.iter().enumerate().map(|(i, &b)| u32::from(blank(i, b))).sum();
    let signed: i32 = bytes.iter().enumerate().map(|(i, &b)| i32::from(blank(i, b).cast_signed())).sum();
    header.cksum().is_ok_and(|sum| sum == unsigned || sum.cast_signed() == signed)
}

/// How many bytes fill up the last block of so many.
pub fn padding(size_bytes: u64) -> u64 {
    size_bytes.next_multiple_of(BLOCK_BYTES as u64) - size_bytes
}

/// Writes bytes into a header's field; false if they do not fit.
pub fn put(header: &mut Header, at: usize, len: usize, bytes: &[u8]) -> bool {
    let fits = bytes.len() <= len;
    let bytes = &bytes[..bytes.len().min(len)];
    header.as_mut_bytes()[at..at + bytes.len()].copy_from_slice(bytes);
    fits
}

/// Whether a number fits a header's field of so many octal digits.
pub fn fits(value: u64, digits: u32) -> bool {
    value < 1 << (3 * digits)
}

/// A blank header of a kind.
pub fn header(kind: EntryType) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        for len in [0, 1, 5, 85, 86, 87, 88, 89, 90, 985, 990, 5000] {
            let mut bytes = Vec::new();
            let value = vec![b'\n'; len];
            push_record(&mut bytes, b"path", &value);
            push_record(&mut bytes, b"a", b"=\xff");
            let expected = [
                Record { key: b"path".to_vec(), value },
                Record { key: b"a".to_vec(), value: b"=\xff".to_vec() },
            ];
            assert_eq!(parse_records(&bytes).unwrap(), expected);
        }
        for bad in [&b"9 path=a"[..], b"99 path=a\n", b"0 a=b\n", b"2 \n", b"x a=b\n", b"6 abc\n", b"1"]
        {
            assert_eq!(parse_records(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn header_times_may_be_negative() {
        let mut head = header(EntryType::Regular);
        head.set_mtime(1_700_000_000);
        assert_eq!(header_time(&head), Some(1_700_000_000));
        put(&mut head, 136, 12, &[0xff; 12]);
        assert_eq!(header_time(&head), Some(-1));
        put(&mut head, 136, 12, &[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1]);
        assert_eq!(header_time(&head), Some((2 << 32) + 1));
        put(&mut head, 136, 12, &[0x80, 0, 0, 0xff, 0, 0, 0, 2, 0, 0, 0, 1]);
        assert_eq!(header_time(&head), None);
    }

    #[test]
    fn times_come_back() {
        for time in [0, 1, -1, 1_500_000_000, -1_500_000_000, i64::MAX, i64::MIN] {
            assert_eq!(parse_time(format_time(time).as_bytes()), Some(time));
        }
        assert_eq!(format_time(-500_000_000), "-0.500000000");
        assert_eq!(parse_time(b"1.1234567899"), Some(1_123_456_789));
        for bad in [&b""[..], b"-", b".5", b"1.x", b"99999999999999999999", b"9999999999999"] {
            assert_eq!(parse_time(bad), None, "{bad:?}");
        }
    }
}
