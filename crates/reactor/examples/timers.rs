//! How long a timer takes: `cargo run --release --example timers`.
//!
//! Three shapes of load, each among 10, 1000 and 100 000 timers that stand:
//! a timeout that is set and withdrawn at once (`wait_for`), one that is
//! withdrawn from anywhere in the heap and set anew (a connection's keep-alive),
//! and one that comes due and is replaced (`sleep`).

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;

use reactor::{NOWHERE, Slot, Timers};

/// As large as a handle, so that entries do not share cache lines.
#[derive(Clone)]
struct Entry(Rc<(Cell<u32>, [u64; 9])>);

impl Entry {
    fn new() -> Entry {
        Entry(Rc::new((Cell::new(NOWHERE), [0; 9])))
    }
}

impl Slot for Entry {
    #[inline]
    fn set_position(&self, position: u32) {
        self.0.0.set(position);
    }
    #[inline]
    fn position(&self) -> u32 {
        self.0.0.get()
    }
}

/// xorshift64: enough to be unpredictable to the branch predictor.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

const OPERATIONS: u32 = 500_000;
const MINUTE: f64 = 60.0;

/// The best of several rounds: what the machine does when left alone.
fn nanoseconds(
    standing: usize,
    mut operation: impl FnMut(&mut Timers<Entry>, &[Entry], f64),
) -> f64 {
    let mut random = Random(88_172_645_463_325_252);
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let entries: Vec<Entry> = (0..standing).map(|_| Entry::new()).collect();
        let mut timers = Timers::new();
        for entry in &entries {
            timers.push(random.fraction() * MINUTE, entry.clone());
        }
        let start = Instant::now();
        for turn in 0..OPERATIONS {
            operation(&mut timers, &entries, f64::from(turn) * 1e-6);
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(OPERATIONS));
    }
    best
}

fn main() {
    println!(
        "{:>8}  {:>22}  {:>22}  {:>14}",
        "standing", "push + remove at once", "remove any + push", "pop + push"
    );
    for standing in [10, 1000, 100_000] {
        let timeout = Entry::new();
        let at_once = nanoseconds(standing, |timers, _, now| {
            timers.push(black_box(now + MINUTE), timeout.clone());
            black_box(timers.remove(timeout.position()));
        });
        let mut random = Random(2_463_534_242);
        let any = nanoseconds(standing, |timers, entries, now| {
            let which = random.next() as usize % entries.len();
            let entry = timers.remove(entries[which].position()).unwrap();
            timers.push(black_box(now + MINUTE), entry);
        });
        let due = nanoseconds(standing, |timers, _, now| {
            let entry = timers.pop_due(f64::INFINITY).unwrap();
            timers.push(black_box(now + random.fraction() * MINUTE), entry);
        });
        println!("{standing:>8}  {at_once:>19.1} ns  {any:>19.1} ns  {due:>11.1} ns");
    }
}
