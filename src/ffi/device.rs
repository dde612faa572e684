//! The durable files of a volume, which JavaScript has opened: OPFS access handles or files of Node.
//!
//! JavaScript's functions give a count, or a negative errno number (Linux). Positions travel as `f64`,
//! which holds them exactly.

use crate::errno::Errno;
use crate::persist::{Device, DeviceError};

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn sabfs_device_size(file: u32) -> f64;
    fn sabfs_device_read(file: u32, at: f64, buffer: *mut u8, count: usize) -> i32;
    fn sabfs_device_write(file: u32, at: f64, bytes: *const u8, count: usize) -> i32;
    fn sabfs_device_set_size(file: u32, size_bytes: f64) -> i32;
    fn sabfs_device_flush(file: u32) -> i32;
}

/// One of the two files.
#[derive(Clone, Copy, Debug)]
pub(super) enum JsDevice {
    Image = 0,
    Journal = 1,
}

impl JsDevice {
    fn check(self, result: i32, what: [&'static str; 2]) -> Result<usize, DeviceError> {
        usize::try_from(result).map_err(|_| DeviceError {
            errno: Errno::from_linux(-result).unwrap_or(Errno::EIO),
            doing: what[self as usize],
        })
    }
}

impl Device for JsDevice {
    fn size_bytes(&mut self) -> Result<u64, DeviceError> {
        // SAFETY: takes and gives numbers.
        let size = unsafe { sabfs_device_size(*self as u32) };
        if size >= 0.0 {
            return Ok(size as u64);
        }
        self.check(size as i32, ["ask for the image's size", "ask for the journal's size"]).map(|_| 0)
    }

    fn read(&mut self, at: u64, buffer: &mut [u8]) -> Result<usize, DeviceError> {
        // SAFETY: pointer and length are those of a slice.
        let count =
            unsafe { sabfs_device_read(*self as u32, at as f64, buffer.as_mut_ptr(), buffer.len()) };
        self.check(count, ["read the image", "read the journal"])
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<usize, DeviceError> {
        // SAFETY: pointer and length are those of a slice.
        let count = unsafe { sabfs_device_write(*self as u32, at as f64, bytes.as_ptr(), bytes.len()) };
        self.check(count, ["write the image", "write the journal"])
    }

    fn set_size(&mut self, size_bytes: u64) -> Result<(), DeviceError> {
        // SAFETY: takes and gives numbers.
        let result = unsafe { sabfs_device_set_size(*self as u32, size_bytes as f64) };
        self.check(result, ["set the image's size", "set the journal's size"]).map(drop)
    }

    fn flush(&mut self) -> Result<(), DeviceError> {
        // SAFETY: takes and gives numbers.
        let result = unsafe { sabfs_device_flush(*self as u32) };
        self.check(result, ["flush the image", "flush the journal"]).map(drop)
    }
}
