//! The crash explorer: every kill at every instant recovers to exactly one committed state.
//!
//! ```text
//!  a workload --over recording devices--> trace --at each point--> every state that a crash may leave
//!       |                                                                     |
//!       '--what each commit held, by an oracle--> judge <--recover, compare---'
//! ```
//! The fault model is that of [`crate::persist::sim`], whose trials are random; here states are enumerated. A
//! flush makes earlier writes of *that file* durable. Until then a power loss may land any subset of the
//! 512-byte sectors written, in any order, of sectors written several times any version; a sector in which a
//! write was torn may hold garbage; lengths may land or not. After a flush that failed a part is durable and
//! the rest is lost for good. A flush of the image at the end of a checkpoint may be a lie.
//!
//! | file | holds |
//! |---|---|
//! | `files` | the two files as values that share their blocks |
//! | `trace` | devices that write down what is done to them, and can fail |
//! | `states` | the states at a point of a trace |
//! | `explore` | the walk over all points, and over those of the recoveries |

mod explore;
mod files;
mod states;
mod trace;

pub use explore::{Explorer, Found, Judge, Recovered, StateId};
pub use files::{FileBytes, Files, SECTOR};
pub use states::{Choice, Effort, Point};
pub use trace::{Failure, Hook, Left, Recorder, RecordingDevice, Step, Trace};
