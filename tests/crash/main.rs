#[path = "../model/mod.rs"]
mod model;
mod ace;
mod judge;
mod machine;
mod tree;

use sabfs::sim::{Effort, Explorer};
fn main() {
    let config = machine::Config::new();
    let base = ace::base(config);
    let effort = Effort { tears: 48, subsets: 24, recovery_one_in: 64, seed: 1 };
    let t = std::time::Instant::now();
    let mut all = std::collections::HashSet::new();
    let (mut made, mut rec) = (0, 0);
    for n in 0..100 {
        let ops = ace::sequence(n * 37, 2);
        let mut ran = ace::run(config, &base, &ops, n % 2 == 0).finish();
        let found = Explorer::new(&mut ran.judge, effort).explore(&ran.trace, None);
        made += found.made;
        rec += found.of_recoveries;
        all.extend(&found.distinct);
        for (id, what) in &found.failures {
            println!("{ops:?} {id}: {what}");
        }
    }
    println!("{} distinct {made} made {rec} rec {:?} {}", all.len(), t.elapsed(), ran_us(t, all.len()));
}
fn ran_us(t: std::time::Instant, n: usize) -> u128 { t.elapsed().as_micros() / n as u128 }
