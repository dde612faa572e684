//! Damage: bits that flip and sectors that are lost while nobody has the volume open.
//!
//! What is right: the volume is refused with an error, or it holds exactly its last commit. A record that nothing
//! vouches for may as well have been torn by a power loss: then it is the commit before.
//!
//! | file | holds |
//! |---|---|
//! | `samples` | volumes as programs leave them, and what each commit held |
//! | `layout` | where in a journal headers and records lie |
//! | `harm` | one damage, which can be named and done |
//! | `families` | all damages of a sort to a sample |
//! | `verdict` | what a damage may lead to, and what it leads to |
//! | `run` | all processors at work |

mod families;
mod harm;
mod layout;
mod run;
mod samples;
mod verdict;

pub use families::{ALL, OFF, Off};
pub use run::{Sum, again, run};
pub use samples::Samples;
