//! How names, modes, times and errors are shown.

use sabfs::errno::Errno;
use sabfs::format::FileKind;
use std::fmt::Write;

/// A path for a message: as it is if that can be read, otherwise with escapes such as `\xff` and `\n`.
pub fn shown(path: &[u8]) -> String {
    match std::str::from_utf8(path) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => path.escape_ascii().to_string(),
    }
}

/// An operation on something in the volume that failed: what, where, why, and what helps.
pub fn failed(doing: &str, path: &[u8], errno: Errno) -> String {
    let path = if path.is_empty() { "/".to_owned() } else { shown(path) };
    let help = match errno {
        Errno::ENOSPC => "; free space in the volume or open it with a larger --capacity",
        Errno::EIO => "; run `sabfs check` on the volume",
        Errno::EFBIG => "; a file has at most 16 TiB",
        Errno::EROFS => "; the volume can only be read",
        Errno::EMLINK => "; a file has at most 65,000 names",
        _ => "",
    };
    format!("cannot {doing} {path}: {errno}{help}")
}

/// As `failed`, for something on the host.
pub fn host_failed(doing: &str, path: &[u8], error: std::io::Error) -> String {
    use std::io::ErrorKind;
    let help = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; free space on the disk",
        ErrorKind::PermissionDenied => "; look at the permissions, or run as another user",
        ErrorKind::AlreadyExists => "; move it away, or give --replace",
        _ if error.raw_os_error() == Some(Errno::ELOOP.linux()) => {
            "; a symbolic link is in the way, and none is followed"
        }
        _ => "",
    };
    let path = if path.is_empty() { ".".to_owned() } else { shown(path) };
    let name = error.raw_os_error().and_then(Errno::from_linux).map(Errno::name);
    match name {
        Some(name) => format!("cannot {doing} {path}: {name}: {error}{help}"),
        None => format!("cannot {doing} {path}: {error}{help}"),
    }
}

/// Kind and permissions as `ls -l` shows them.
pub fn mode(kind: FileKind, mode: u32) -> String {
    let mut text = String::with_capacity(10);
    text.push(match kind {
        FileKind::Regular => '-',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::Character => 'c',
        FileKind::Block => 'b',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
    });
    for (shift, special, letters) in [(6, 0o4000, "sS"), (3, 0o2000, "sS"), (0, 0o1000, "tT")] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => letters.as_bytes()[0].into(),
            (true, false) => letters.as_bytes()[1].into(),
        });
    }
    text
}

/// A kind in words.
pub fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Regular => "regular file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symbolic link",
        FileKind::Character => "character special file",
        FileKind::Block => "block special file",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
    }
}

/// A time in UTC, to the nanosecond.
pub fn time(time_ns: i64) -> String {
    const SECOND: i64 = 1_000_000_000;
    let (seconds, ns) = (time_ns.div_euclid(SECOND), time_ns.rem_euclid(SECOND));
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 1 March of year 0, in eras of 400 years: so a leap day is the last of its year.
    let days = day + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ns:09} UTC")
}

/// Bytes as hexadecimal digits in the groups of a uuid.
pub fn uuid(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Reads a size: a number of bytes, or with K, M, G, T or P behind it, of 1,024, 1,048,576 ... bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text} is not a size: give bytes, or a number with K, M, G or T behind it");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match text[digits.len()..].to_ascii_uppercase().trim_end_matches("IB") {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << (10 * power)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_civil() {
        assert_eq!(time(0), "1970-01-01 00:00:00.000000000 UTC");
        assert_eq!(time(-1), "1969-12-31 23:59:59.999999999 UTC");
        assert_eq!(time(951_782_400_000_000_005), "2000-02-29 00:00:00.000000005 UTC");
        assert_eq!(time(1_709_251_199_000_000_000), "2024-02-29 23:59:59.000000000 UTC");
        assert_eq!(time(i64::MAX), "2262-04-11 23:47:16.854775807 UTC");
        assert_eq!(time(i64::MIN), "1677-09-21 00:12:43.145224192 UTC");
    }

    #[test]
    fn modes_are_as_ls_shows_them() {
        assert_eq!(mode(FileKind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(mode(FileKind::Regular, 0o4755), "-rwsr-xr-x");
        assert_eq!(mode(FileKind::Fifo, 0o6600), "prwS--S---");
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("17"), Ok(17));
        assert_eq!(parse_size("4k"), Ok(4096));
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        for wrong in ["", "G", "1X", "-1", "99999999P"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_are_shown_without_loss() {
        assert_eq!(shown("ä b".as_bytes()), "ä b");
        assert_eq!(shown(b"a\nb\xff"), "a\\nb\\xff");
    }
}
