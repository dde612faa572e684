//! What several test programs share: volumes with a clock of their own, the oracle, the operations.
#![allow(dead_code)] // each program uses a part

pub mod hostile;
pub mod operations;
pub mod oracle;
pub mod strategies;
pub mod volumes;
pub mod world;
