//! The results as rows.

use std::fmt::Write;

/// What a figure counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds for one operation.
    Nanoseconds,
    /// Accesses of the store for one operation.
    Accesses,
    /// Bytes of the store for one file.
    Bytes,
}

impl Unit {
    fn word(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Accesses => "accesses",
            Self::Bytes => "bytes",
        }
    }
}

struct Row {
    case: String,
    size: Option<usize>,
    unit: Unit,
    ours: f64,
    peer: (&'static str, f64),
    /// Greatest ratio to the peer that is good enough.
    target: f64,
}

/// All rows.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Adds a figure beside its peer's, with the greatest ratio that is good enough.
    pub fn add(
        &mut self,
        case: impl Into<String>,
        size: Option<usize>,
        unit: Unit,
        ours: f64,
        peer: (&'static str, f64),
        target: f64,
    ) {
        self.rows.push(Row { case: case.into(), size, unit, ours, peer, target });
    }

    /// Prints a Markdown table.
    pub fn print(&self) {
        println!("| case | unit | ours | beside | theirs | ratio | at most | met |");
        println!("|---|---|---|---|---|---|---|---|");
        for row in &self.rows {
            let ratio = row.ours / row.peer.1;
            println!(
                "| {} | {} | {:.1} | {} | {:.1} | {ratio:.2} | {:.2} | {} |",
                row.case,
                row.unit.word(),
                row.ours,
                row.peer.0,
                row.peer.1,
                row.target,
                if ratio <= row.target { "yes" } else { "no" },
            );
        }
    }

    /// The rows as JSON, in the shape of the browsers' rows; figures that are no times are in `ours` and `unit`.
    pub fn json(&self) -> String {
        let mut text = String::from("{\"rows\":[");
        for (index, row) in self.rows.iter().enumerate() {
            let ratio = row.ours / row.peer.1;
            let name = row.peer.0;
            let time = row.unit == Unit::Nanoseconds;
            let ours_ns = if time { format!("{:.1}", row.ours) } else { "null".to_owned() };
            let size = row.size.map_or("null".to_owned(), |size| size.to_string());
            write!(
                text,
                "{}{{\"engine\":\"native\",\"case\":\"{}\",\"size\":{size},\"threads\":1,\"unit\":\"{}\",\
                 \"ours\":{:.3},\"ours_ns\":{ours_ns},\"peers\":{{\"{name}\":{:.3}}},\
                 \"ratio\":{{\"{name}\":{ratio:.4}}},\"target\":{{\"{name}\":{}}},\"met\":{}}}",
                if index == 0 { "" } else { "," },
                row.case,
                row.unit.word(),
                row.ours,
                row.peer.1,
                row.target,
                ratio <= row.target,
            )
            .expect("a string takes everything");
        }
        text + "]}\n"
    }
}
