//! Errors as POSIX words. Numbers exist only at the edges: Linux's for 9P and FUSE, musl's WASI-based
//! ones for Emscripten.

use std::fmt;

macro_rules! errnos {
    ($($name:ident $linux:literal $wasi:literal $text:literal;)*) => {
        /// An error of a file-system call.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, clippy::upper_case_acronyms)] // POSIX's own names
        pub enum Errno { $($name,)* }

        impl Errno {
            /// Linux's number, which 9P and FUSE use.
            pub fn linux(self) -> i32 {
                match self { $(Self::$name => $linux,)* }
            }
            /// WASI's number, which Emscripten's C library uses.
            pub fn wasi(self) -> i32 {
                match self { $(Self::$name => $wasi,)* }
            }
            /// The error with this Linux number.
            pub fn from_linux(number: i32) -> Option<Self> {
                match number { $($linux => Some(Self::$name),)* _ => None }
            }
            /// The POSIX word.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
            /// What it means, in a few words.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
            /// All of them, for tests that compare the tables with a C library's.
            pub const ALL: &'static [Errno] = &[$(Self::$name,)*];
        }
    };
}

errnos! {
    EPERM 1 63 "operation not permitted";
    ENOENT 2 44 "no such file or directory";
    EINTR 4 27 "interrupted";
    EIO 5 29 "input/output error";
    ENXIO 6 60 "no such device or address, or no data there";
    E2BIG 7 1 "argument too long";
    EBADF 9 8 "bad file descriptor";
    EAGAIN 11 6 "try again";
    ENOMEM 12 48 "out of memory";
    EACCES 13 2 "permission denied";
    EBUSY 16 10 "in use";
    EEXIST 17 20 "file exists";
    EXDEV 18 75 "other file system";
    ENODEV 19 43 "no such device";
    ENOTDIR 20 54 "not a directory";
    EISDIR 21 31 "is a directory";
    EINVAL 22 28 "invalid argument";
    ENFILE 23 41 "too many open files";
    EMFILE 24 33 "too many open files of one program";
    EFBIG 27 22 "file too large";
    ENOSPC 28 51 "no space left";
    ESPIPE 29 70 "not seekable";
    EROFS 30 69 "read-only file system";
    EMLINK 31 34 "too many links";
    ERANGE 34 68 "result too large";
    EDEADLK 35 16 "would deadlock";
    ENAMETOOLONG 36 37 "name too long";
    ENOLCK 37 46 "no locks left";
    ENOSYS 38 52 "not implemented";
    ENOTEMPTY 39 55 "directory not empty";
    ELOOP 40 32 "too many symbolic links";
    ENODATA 61 116 "no such attribute";
    EOVERFLOW 75 61 "value too large";
    EILSEQ 84 25 "not valid UTF-8";
    EUSERS 87 136 "too many clients: a store has room for 64";
    EPROTONOSUPPORT 93 66 "version not supported";
    EOPNOTSUPP 95 138 "not supported";
    ETIMEDOUT 110 73 "timed out";
    ESTALE 116 72 "stale file handle";
    EDQUOT 122 19 "quota exceeded";
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.text())
    }
}

impl std::error::Error for Errno {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::Errno;

    #[test]
    fn numbers_are_linux_numbers() {
        for (errno, number) in [
            (Errno::ENOENT, libc::ENOENT),
            (Errno::ENOSPC, libc::ENOSPC),
            (Errno::ENOTEMPTY, libc::ENOTEMPTY),
            (Errno::ENODATA, libc::ENODATA),
            (Errno::EDQUOT, libc::EDQUOT),
            (Errno::EUSERS, libc::EUSERS),
            (Errno::ESTALE, libc::ESTALE),
            (Errno::EPROTONOSUPPORT, libc::EPROTONOSUPPORT),
        ] {
            assert_eq!(errno.linux(), number, "{errno}");
        }
        for &errno in Errno::ALL {
            assert_eq!(Errno::from_linux(errno.linux()), Some(errno));
        }
    }
}
