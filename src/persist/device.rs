//! The device: what the keeper asks of a durable file, and the implementations that need no browser.
//!
//! A device is a file with positions. It promises little, because OPFS promises little:
//! - a write may be partial, and may land in any order with other writes until the next `flush`;
//! - a flush that succeeds makes every earlier write of *this* file durable;
//! - after a write or a flush that failed nothing is known about the bytes concerned.
//!
//! Nothing above this trait trusts the order of unflushed writes: validity is proved by checksums.

use crate::errno::Errno;
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// A device call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceError {
    /// Why: `ENOSPC`, `EDQUOT`, `EIO`, ...
    pub errno: Errno,
    /// What was being done, for the message: "write the journal".
    pub doing: &'static str,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: {}", self.doing, self.errno)
    }
}

impl std::error::Error for DeviceError {}

/// A durable file, owned by one keeper.
pub trait Device {
    /// Length of the file in bytes.
    fn size_bytes(&mut self) -> Result<u64, DeviceError>;
    /// Reads at `at`; gives the number of bytes, which may be less than asked for; 0 only at the end.
    fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize, DeviceError>;
    /// Writes at `at`, growing the file if need be; gives the number of bytes, which may be less than
    /// asked for.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<usize, DeviceError>;
    /// Cuts the file off or extends it with zeros.
    fn set_size(&mut self, size_bytes: u64) -> Result<(), DeviceError>;
    /// Makes every earlier write durable.
    fn flush(&mut self) -> Result<(), DeviceError>;

    /// Reads until the buffer is full or the file ends; gives the number of bytes.
    fn read_full(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize, DeviceError> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read(at + done as u64, &mut buffer[done..])? {
                0 => break,
                // A device that claims more than it was asked for is not to be believed.
                count => done = (done + count).min(buffer.len()),
            }
        }
        Ok(done)
    }

    /// Writes all of `bytes`; a write that makes no progress is an error.
    fn write_all(&mut self, at: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        let mut done = 0;
        while done < bytes.len() {
            match self.write(at + done as u64, &bytes[done..])? {
                0 => return Err(DeviceError { errno: Errno::EIO, doing: "write: no progress" }),
                count => done = (done + count).min(bytes.len()),
            }
        }
        Ok(())
    }
}

impl<D: Device + ?Sized> Device for Box<D> {
    fn size_bytes(&mut self) -> Result<u64, DeviceError> {
        (**self).size_bytes()
    }
    fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize, DeviceError> {
        (**self).read(at, buffer)
    }
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<usize, DeviceError> {
        (**self).write(at, bytes)
    }
    fn set_size(&mut self, size_bytes: u64) -> Result<(), DeviceError> {
        (**self).set_size(size_bytes)
    }
    fn flush(&mut self) -> Result<(), DeviceError> {
        (**self).flush()
    }
}

/// A file in memory; clones share the bytes, so that a test can open it again.
#[derive(Clone, Default)]
pub struct MemDevice {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl MemDevice {
    /// A file with this content.
    pub fn with_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes: Arc::new(Mutex::new(bytes)) }
    }

    /// A copy of the content.
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().clone()
    }

    /// Changes the content behind the owner's back.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        change(&mut self.bytes.lock())
    }
}

fn index(at: u64, doing: &'static str) -> Result<usize, DeviceError> {
    usize::try_from(at).map_err(|_| DeviceError { errno: Errno::EFBIG, doing })
}

impl Device for MemDevice {
    fn size_bytes(&mut self) -> Result<u64, DeviceError> {
        Ok(self.bytes.lock().len() as u64)
    }

    fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize, DeviceError> {
        let bytes = self.bytes.lock();
        let from = index(at, "read")?.min(bytes.len());
        let count = buffer.len().min(bytes.len() - from);
        buffer[..count].copy_from_slice(&bytes[from..from + count]);
        Ok(count)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<usize, DeviceError> {
        let mut file = self.bytes.lock();
        let from = index(at, "write")?;
        let end = index(at.saturating_add(bytes.len() as u64), "write")?;
        if file.len() < end {
            file.resize(end, 0);
        }
        file[from..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn set_size(&mut self, size_bytes: u64) -> Result<(), DeviceError> {
        self.bytes.lock().resize(index(size_bytes, "set the size")?, 0);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// A file of the host.
#[cfg(all(unix, not(target_family = "wasm")))]
pub struct FileDevice {
    file: std::fs::File,
}

#[cfg(all(unix, not(target_family = "wasm")))]
impl FileDevice {
    /// A device on an open file, which is readable and writable.
    pub fn new(file: std::fs::File) -> Self {
        Self { file }
    }
}

#[cfg(all(unix, not(target_family = "wasm")))]
pub(super) fn host_errno(error: &std::io::Error) -> Errno {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull => Errno::ENOSPC,
        ErrorKind::QuotaExceeded => Errno::EDQUOT,
        ErrorKind::FileTooLarge => Errno::EFBIG,
        ErrorKind::ReadOnlyFilesystem => Errno::EROFS,
        ErrorKind::PermissionDenied => Errno::EACCES,
        ErrorKind::NotFound => Errno::ENOENT,
        ErrorKind::AlreadyExists => Errno::EEXIST,
        ErrorKind::WouldBlock => Errno::EAGAIN,
        ErrorKind::Interrupted => Errno::EINTR,
        _ => Errno::EIO,
    }
}

#[cfg(all(unix, not(target_family = "wasm")))]
fn failed(doing: &'static str) -> impl Fn(std::io::Error) -> DeviceError {
    move |error| DeviceError { errno: host_errno(&error), doing }
}

#[cfg(all(unix, not(target_family = "wasm")))]
fn retried<T>(mut call: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(all(unix, not(target_family = "wasm")))]
impl Device for FileDevice {
    fn size_bytes(&mut self) -> Result<u64, DeviceError> {
        Ok(self.file.metadata().map_err(failed("read the size"))?.len())
    }

    fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize, DeviceError> {
        use std::os::unix::fs::FileExt;
        retried(|| self.file.read_at(buffer, at)).map_err(failed("read"))
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<usize, DeviceError> {
        use std::os::unix::fs::FileExt;
        retried(|| self.file.write_at(bytes, at)).map_err(failed("write"))
    }

    fn set_size(&mut self, size_bytes: u64) -> Result<(), DeviceError> {
        retried(|| self.file.set_len(size_bytes)).map_err(failed("set the size"))
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        // The length of a file that grew is part of what fdatasync writes. No retry: what a failed
        // flush was to write may be gone from the host's cache, so success later would prove nothing.
        self.file.sync_data().map_err(failed("flush"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dribble(MemDevice, usize);

    impl Device for Dribble {
        fn size_bytes(&mut self) -> Result<u64, DeviceError> {
            self.0.size_bytes()
        }
        fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize, DeviceError> {
            let count = buffer.len().min(self.1);
            self.0.read(at, &mut buffer[..count])
        }
        fn write(&mut self, at: u64, bytes: &[u8]) -> Result<usize, DeviceError> {
            self.0.write(at, &bytes[..bytes.len().min(self.1)])
        }
        fn set_size(&mut self, size_bytes: u64) -> Result<(), DeviceError> {
            self.0.set_size(size_bytes)
        }
        fn flush(&mut self) -> Result<(), DeviceError> {
            self.0.flush()
        }
    }

    #[test]
    fn partial_calls_are_continued() {
        let mut device = Dribble(MemDevice::default(), 3);
        device.write_all(2, b"0123456789").unwrap();
        let mut buffer = [9; 16];
        assert_eq!(device.read_full(0, &mut buffer).unwrap(), 12);
        assert_eq!(&buffer[..12], b"\0\x000123456789");
        device.1 = 0;
        assert_eq!(device.write_all(0, b"x").unwrap_err().errno, Errno::EIO);
        assert_eq!(device.read_full(0, &mut buffer).unwrap(), 0);
    }

    #[cfg(all(unix, not(target_family = "wasm")))]
    #[test]
    fn a_host_file_behaves_as_memory_does() {
        let (mut file, mut memory) =
            (FileDevice::new(tempfile::tempfile().unwrap()), MemDevice::default());
        let devices: [&mut dyn Device; 2] = [&mut file, &mut memory];
        for device in devices {
            device.write_all(5000, b"abc").unwrap();
            device.flush().unwrap();
            assert_eq!(device.size_bytes().unwrap(), 5003);
            device.set_size(5001).unwrap();
            let mut buffer = [9; 8];
            assert_eq!(device.read_full(4998, &mut buffer).unwrap(), 3);
            assert_eq!(&buffer[..3], b"\0\0a");
            assert_eq!(device.read_full(9999, &mut buffer).unwrap(), 0);
        }
    }
}
