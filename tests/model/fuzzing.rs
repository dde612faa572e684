//! The part of the model that the fuzz targets share: everything that needs no proptest.

#[path = "durable.rs"]
pub mod durable;
#[path = "hostile.rs"]
pub mod hostile;
#[path = "hostile_journal.rs"]
pub mod hostile_journal;
#[path = "operations.rs"]
pub mod operations;
#[path = "oracle.rs"]
pub mod oracle;
#[path = "oracle_data.rs"]
pub mod oracle_data;
#[path = "volumes.rs"]
pub mod volumes;
#[path = "world.rs"]
pub mod world;
#[path = "world_data.rs"]
pub mod world_data;
#[path = "xattrs.rs"]
pub mod xattrs;
