//! The heap against a model that cannot be wrong: a sorted list.

use std::cell::Cell;
use std::rc::Rc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

#[derive(Debug)]
struct Timer {
    id: usize,
    position: Cell<u32>,
}

impl Timer {
    fn new(id: usize) -> Rc<Timer> {
        Rc::new(Timer { id, position: Cell::new(NOWHERE) })
    }
}

impl Slot for Rc<Timer> {
    fn set_position(&self, position: u32) {
        self.position.set(position);
    }
    fn position(&self) -> u32 {
        self.position.get()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Push(f64),
    /// Remove one of those that were ever pushed, in the heap or not.
    Remove(usize),
    Pop(f64),
    Drain,
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    // Few distinct deadlines, so that equal ones are common.
    let when = prop_oneof![
        8 => (0_i32..20).prop_map(|tenths| f64::from(tenths) / 10.0),
        2 => any::<f64>(),
        1 => Just(f64::NAN),
        1 => Just(-0.0),
        1 => Just(f64::INFINITY),
    ];
    let step = prop_oneof![
        60 => when.clone().prop_map(Step::Push),
        30 => any::<usize>().prop_map(Step::Remove),
        20 => when.prop_map(Step::Pop),
        1 => Just(Step::Drain),
    ];
    prop::collection::vec(step, 0..most)
}

/// The sorted list: insertion goes behind its equals.
#[derive(Default)]
struct Model(Vec<(f64, usize)>);

impl Model {
    fn push(&mut self, when: f64, id: usize) {
        let when = if when.is_nan() { f64::INFINITY } else { when };
        let at = self.0.partition_point(|&(other, _)| other <= when);
        self.0.insert(at, (when, id));
    }

    fn remove(&mut self, id: usize) -> bool {
        let at = self.0.iter().position(|&(_, other)| other == id);
        at.map(|at| self.0.remove(at)).is_some()
    }

    fn pop_due(&mut self, now: f64) -> Option<usize> {
        let due = self.0.first().is_some_and(|&(when, _)| when < now);
        due.then(|| self.0.remove(0).1)
    }
}

fn compare_with_the_model(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut timers = Timers::new();
    let mut model = Model::default();
    let mut all: Vec<Rc<Timer>> = Vec::new();
    for step in steps {
        match step {
            Step::Push(when) => {
                let timer = Timer::new(all.len());
                timers.push(when, Rc::clone(&timer));
                model.push(when, timer.id);
                all.push(timer);
            }
            Step::Remove(_) if all.is_empty() => {}
            Step::Remove(which) => {
                let timer = &all[which % all.len()];
                let removed = timers.remove(timer.position());
                prop_assert_eq!(removed.is_some(), model.remove(timer.id));
                prop_assert!(removed.is_none_or(|removed| removed.id == timer.id));
                prop_assert_eq!(timer.position(), NOWHERE);
            }
            Step::Pop(now) => {
                let popped = timers.pop_due(now);
                prop_assert_eq!(popped.as_ref().map(|timer| timer.id), model.pop_due(now));
                prop_assert!(popped.is_none_or(|timer| timer.position() == NOWHERE));
            }
            Step::Drain => {
                let mut ids: Vec<usize> = timers.drain().map(|timer| timer.id).collect();
                let mut expected: Vec<usize> = model.0.drain(..).map(|(_, id)| id).collect();
                ids.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(ids, expected);
            }
        }
        check_books(&timers, &model, &all)?;
    }
    // What is left comes out in the model's order, those never due by force.
    for (_, id) in model.0 {
        prop_assert_eq!(timers.remove(0).map(|timer| timer.id), Some(id));
    }
    prop_assert!(timers.is_empty());
    Ok(())
}

fn check_books(
    timers: &Timers<Rc<Timer>>,
    model: &Model,
    all: &[Rc<Timer>],
) -> Result<(), TestCaseError> {
    prop_assert_eq!(timers.len(), model.0.len());
    prop_assert_eq!(timers.is_empty(), model.0.is_empty());
    prop_assert_eq!(timers.next_deadline(), model.0.first().map(|&(when, _)| when));
    for (index, (when, timer)) in timers.iter().enumerate() {
        prop_assert_eq!(timer.position() as usize, index);
        prop_assert!(model.0.contains(&(when, timer.id)));
    }
    let placed = all.iter().filter(|timer| timer.position() != NOWHERE).count();
    prop_assert_eq!(placed, timers.len());
    Ok(())
}

proptest! {
    #[test]
    fn the_heap_agrees_with_a_sorted_list(steps in steps(200)) {
        compare_with_the_model(steps)?;
    }
}

/// `AIOXIDE_LONG_PROPTEST=100000 cargo test -p aioxide-reactor long`
#[test]
fn the_heap_agrees_with_a_sorted_list_for_long() {
    let Some(cases) = std::env::var("AIOXIDE_LONG_PROPTEST").ok() else { return };
    let cases = cases.parse().expect("AIOXIDE_LONG_PROPTEST is a number of cases");
    let mut runner =
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner.run(&steps(1000), compare_with_the_model).unwrap();
}

#[test]
fn timers_due_together_come_in_the_order_of_their_deadlines_and_then_of_their_arrival() {
    let mut timers = Timers::new();
    for (id, when) in [3.0, 1.0, 2.0, 1.0, 3.0, 1.0].into_iter().enumerate() {
        timers.push(when, Timer::new(id));
    }
    let order: Vec<usize> =
        std::iter::from_fn(|| timers.pop_due(10.0)).map(|timer| timer.id).collect();
    assert_eq!(order, [1, 3, 5, 2, 0, 4]);
}

#[test]
fn a_timer_is_due_only_after_its_deadline() {
    let mut timers = Timers::new();
    timers.push(1.0, Timer::new(0));
    assert!(timers.pop_due(1.0).is_none());
    assert!(timers.pop_due(f64::NAN).is_none());
    assert!(timers.pop_due(1.0_f64.next_up()).is_some());
    assert!(timers.pop_due(2.0).is_none());
}

#[test]
fn a_deadline_that_is_not_a_number_is_last_and_never_due() {
    let mut timers = Timers::new();
    timers.push(f64::NAN, Timer::new(0));
    timers.push(-f64::NAN, Timer::new(1));
    timers.push(f64::MAX, Timer::new(2));
    assert_eq!(timers.pop_due(f64::INFINITY).unwrap().id, 2);
    assert!(timers.pop_due(f64::INFINITY).is_none());
    assert_eq!(timers.next_deadline(), Some(f64::INFINITY));
}

#[test]
fn a_position_that_is_not_there_removes_nothing() {
    let mut timers = Timers::new();
    assert!(timers.remove(0).is_none());
    timers.push(1.0, Timer::new(0));
    assert!(timers.remove(1).is_none());
    assert!(timers.remove(NOWHERE).is_none());
    assert_eq!(timers.len(), 1);
}

#[test]
fn an_entry_is_nowhere_once_it_left_the_heap_in_whatever_way() {
    let timer = Timer::new(0);
    let mut timers = Timers::new();
    timers.push(1.0, Rc::clone(&timer));
    assert_eq!(timer.position(), 0);
    // Dropped without being used, the drain has still emptied the heap.
    drop(timers.drain());
    assert_eq!(timer.position(), NOWHERE);
    assert!(timers.is_empty());

    timers.push(1.0, Rc::clone(&timer));
    drop(timers);
    assert_eq!(timer.position(), NOWHERE);
    assert_eq!(Rc::strong_count(&timer), 1);
}

#[test]
fn the_memory_of_a_burst_is_given_back() {
    let mut timers = Timers::new();
    for id in 0..1_000_000 {
        timers.push(id as f64, Timer::new(id));
    }
    assert!(timers.nodes.capacity() >= 1_000_000);
    for _ in 0..999_900 {
        timers.pop_due(f64::INFINITY).unwrap();
    }
    assert!(timers.nodes.capacity() <= KEPT_CAPACITY);
    assert_eq!(timers.len(), 100);
}

#[test]
fn a_node_is_three_words() {
    assert_eq!(size_of::<Node<Rc<Timer>>>(), 24);
}
