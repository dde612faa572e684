//! What several test programs share: volumes with a clock of their own, the oracle, the operations.
#![allow(dead_code)] // each program uses a part

pub mod durable;
#[cfg(target_os = "linux")]
pub mod host;
pub mod hostile;
pub mod hostile_journal;
pub mod operations;
pub mod oracle;
pub mod oracle_data;
pub mod sample;
pub mod strategies;
pub mod volumes;
pub mod world;
pub mod world_data;
pub mod xattrs;
