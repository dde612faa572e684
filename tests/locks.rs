//! Advisory locks: what `fcntl` and `flock` promise, between owners of one client and of several.

use crate::model::volumes::{HeapVolume, ROOT, file, now, store};
use sabfs::errno::Errno;
use sabfs::store::{HeapStore, Store, lock, runtime as rt};
use sabfs::vfs::LockMode::{Exclusive, Shared};
use sabfs::vfs::{Ino, LockOwner, LockRange, Volume, Waiting};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

const A: LockOwner = LockOwner { kind: sabfs::vfs::OwnerKind::Process, id: 1, pid: 101 };
const B: LockOwner = LockOwner { id: 2, pid: 102, ..A };
const C: LockOwner = LockOwner { id: 3, pid: 103, ..A };

fn range(start: u64, end: u64) -> LockRange {
    LockRange::between(start, end).unwrap()
}

fn held_file(volume: &HeapVolume, name: &[u8]) -> Ino {
    let ino = volume.create(ROOT, name, &file()).unwrap().ino;
    volume.hold(ino).unwrap();
    ino
}

fn fixture() -> (HeapVolume, Ino) {
    let volume = Volume::format(store(200), 1, now, [7; 32]).unwrap();
    let ino = held_file(&volume, b"f");
    (volume, ino)
}

fn second(first: &HeapVolume, client: u32) -> HeapVolume {
    Volume::attach(first.image().store().clone(), client, now).unwrap()
}

/// Which bytes a stranger finds locked, as the modes of the first `count` bytes.
fn seen(volume: &HeapVolume, ino: Ino, count: u64) -> String {
    let stranger = LockOwner::process(999, 0);
    (0..count)
        .map(|at| {
            let test = |mode| volume.test_lock(ino, &stranger, mode, range(at, at)).unwrap();
            match (test(Shared), test(Exclusive)) {
                (Some(_), _) => 'X',
                (None, Some(_)) => 's',
                (None, None) => '.',
            }
        })
        .collect()
}

fn locks_in(store: &HeapStore) -> u32 {
    store.load(rt::LOCK_COUNT)
}

#[test]
fn ranges_are_those_of_fcntl() {
    assert_eq!(LockRange::new(5, 0), Ok(range(5, LockRange::END)));
    assert_eq!(LockRange::new(5, 3), Ok(range(5, 7)));
    assert_eq!(LockRange::new(5, -3), Ok(range(2, 4)));
    assert_eq!(LockRange::new(5, -5), Ok(range(0, 4)));
    assert_eq!(LockRange::new(5, -6), Err(Errno::EINVAL));
    assert_eq!(LockRange::new(-1, 1), Err(Errno::EINVAL));
    assert_eq!(LockRange::new(i64::MAX, 1), Ok(range(LockRange::END, LockRange::END)));
    assert_eq!(LockRange::new(i64::MAX, 2), Err(Errno::EOVERFLOW));
    assert_eq!(LockRange::new(i64::MAX, i64::MIN), Err(Errno::EINVAL));
    assert_eq!(LockRange::between(3, 2), Err(Errno::EINVAL));
    assert_eq!(LockRange::between(0, LockRange::END + 1), Err(Errno::EINVAL));
}

#[test]
fn own_ranges_split_merge_and_change() {
    let (v, f) = fixture();
    let locks = || locks_in(v.image().store());
    v.lock(f, &A, Exclusive, range(2, 9), None).unwrap();
    v.unlock(f, &A, range(4, 5)).unwrap();
    assert_eq!((seen(&v, f, 12), locks()), ("..XX..XXXX..".into(), 2));
    v.lock(f, &A, Shared, range(7, 8), None).unwrap();
    assert_eq!((seen(&v, f, 12), locks()), ("..XX..XssX..".into(), 4));
    v.lock(f, &A, Exclusive, range(4, 8), None).unwrap();
    assert_eq!((seen(&v, f, 12), locks()), ("..XXXXXXXX..".into(), 1));
    // What lies next to it becomes one lock with it.
    v.lock(f, &A, Exclusive, range(0, 1), None).unwrap();
    v.lock(f, &A, Exclusive, LockRange::new(10, 0).unwrap(), None).unwrap();
    assert_eq!(locks(), 1);
    let found = v.test_lock(f, &B, Shared, range(1 << 40, 1 << 41)).unwrap().unwrap();
    assert_eq!((found.range, found.mode, found.client), (LockRange::WHOLE, Exclusive, 1));
    assert_eq!((found.owner, found.reported_pid()), (A, 101));
    v.unlock(f, &A, LockRange::WHOLE).unwrap();
    v.unlock(f, &A, LockRange::WHOLE).unwrap();
    assert_eq!(locks(), 0);
}

#[test]
fn owners_keep_each_other_out() {
    let (v, f) = fixture();
    v.lock(f, &A, Shared, range(0, 9), None).unwrap();
    v.lock(f, &B, Shared, range(5, 14), None).unwrap();
    assert_eq!(v.lock(f, &A, Exclusive, range(0, 9), None), Err(Errno::EAGAIN));
    assert_eq!(seen(&v, f, 16), "sssssssssssssss.");
    v.lock(f, &A, Exclusive, range(0, 4), None).unwrap();
    assert_eq!(v.lock(f, &C, Shared, range(4, 4), None), Err(Errno::EAGAIN));
    // The first lock in the way is the one that begins first.
    let first = v.test_lock(f, &C, Exclusive, LockRange::WHOLE).unwrap().unwrap();
    assert_eq!((first.owner, first.range), (A, range(0, 4)));
    assert_eq!(v.test_lock(f, &A, Exclusive, range(0, 4)), Ok(None));
    // An open file is another owner than the process that has it open, even by the same number.
    let open_file = LockOwner::open_file(A.id, A.pid);
    assert_eq!(v.lock(f, &open_file, Shared, range(0, 0), None), Err(Errno::EAGAIN));
    v.lock(f, &open_file, Shared, range(20, 20), None).unwrap();
    assert_eq!(v.test_lock(f, &A, Exclusive, range(20, 20)).unwrap().unwrap().reported_pid(), -1);
    // So is the same process number of another client.
    let other = second(&v, 2);
    other.hold(f).unwrap();
    assert_eq!(other.lock(f, &A, Shared, range(0, 0), None), Err(Errno::EAGAIN));
    v.release_owner(f, &A).unwrap();
    other.lock(f, &A, Shared, range(0, 0), None).unwrap();
    assert_eq!(seen(&v, f, 21), "s....ssssssssss.....s");
}

#[test]
fn whole_file_locks_stand_alone() {
    let (v, f) = fixture();
    let [a, b] = [1, 2].map(|id| LockOwner::open_file(id, 100));
    v.lock(f, &A, Exclusive, LockRange::WHOLE, None).unwrap();
    v.flock(f, &a, Shared, None).unwrap();
    v.flock(f, &b, Shared, None).unwrap();
    // The shared lock is given up before the exclusive one is asked for, and stays lost.
    assert_eq!(v.flock(f, &a, Exclusive, None), Err(Errno::EAGAIN));
    v.flock(f, &b, Exclusive, None).unwrap();
    assert_eq!(v.flock(f, &a, Shared, None), Err(Errno::EAGAIN));
    v.flock(f, &b, Shared, None).unwrap();
    v.flock(f, &a, Shared, None).unwrap();
    v.funlock(f, &a).unwrap();
    v.release_owner(f, &b).unwrap();
    assert_eq!(locks_in(v.image().store()), 1);
    v.flock(f, &a, Exclusive, None).unwrap();
}

#[test]
fn locks_go_with_holds_and_clients() {
    let (v, f) = fixture();
    let g = v.create(ROOT, b"g", &file()).unwrap().ino;
    assert_eq!(v.lock(g, &A, Shared, LockRange::WHOLE, None), Err(Errno::EBADF));
    let other = second(&v, 2);
    other.hold(f).unwrap();
    v.hold(f).unwrap();
    v.lock(f, &A, Shared, range(0, 9), None).unwrap();
    v.flock(f, &LockOwner::open_file(9, 0), Shared, None).unwrap();
    other.lock(f, &A, Shared, range(10, 19), None).unwrap();
    v.forget(f);
    assert_eq!(locks_in(v.image().store()), 3);
    v.forget(f);
    assert_eq!(locks_in(v.image().store()), 1);
    v.hold(f).unwrap();
    assert_eq!(v.lock(f, &A, Exclusive, LockRange::WHOLE, None), Err(Errno::EAGAIN));
    v.lock(f, &A, Exclusive, range(0, 9), None).unwrap();
    // The other client dies within a change: it has the guard, and its records hang in the air.
    let store = v.image().store();
    assert!(lock::lock(store, rt::LOCK_GUARD, 2, 0));
    store.zero(rt::LOCK_BUCKETS, rt::LOCK_BUCKETS_COUNT * rt::LOCK_BUCKET_SIZE_BYTES);
    store.store(rt::LOCK_COUNT, 77);
    v.release_client(2).unwrap();
    assert_eq!((locks_in(store), seen(&v, f, 12)), (1, "XXXXXXXXXX..".into()));
    v.lock(f, &A, Exclusive, LockRange::WHOLE, None).unwrap();
    v.release_owner(f, &A).unwrap();
    // Whoever gets a dead client's number begins without locks.
    other.lock(f, &A, Exclusive, LockRange::WHOLE, None).unwrap();
    drop(other);
    assert_eq!(v.lock(f, &A, Shared, range(0, 0), None), Err(Errno::EAGAIN));
    let _next = second(&v, 2);
    v.lock(f, &A, Shared, range(0, 0), None).unwrap();
}

#[test]
fn the_table_fills_and_empties() {
    let (v, f) = fixture();
    let max = u64::from(rt::LOCKS_MAX);
    for round in 0..2 {
        for at in 0..max - 1 {
            v.lock(f, &A, Exclusive, range(at * 4, at * 4 + 2), None).unwrap();
        }
        v.lock(f, &B, Exclusive, range(max * 4, max * 4 + 2), None).unwrap();
        let more = range(max * 5, max * 5);
        assert_eq!(v.lock(f, &B, Shared, more, None), Err(Errno::ENOLCK));
        // A lock that is cut in two needs a place more, one that is cut off or merged needs none.
        assert_eq!(v.unlock(f, &A, range(1, 1)), Err(Errno::ENOLCK));
        assert_eq!(seen(&v, f, 4), "XXX.");
        v.unlock(f, &A, range(2, 2)).unwrap();
        v.lock(f, &A, Exclusive, range(2, 3), None).unwrap();
        assert_eq!(locks_in(v.image().store()), rt::LOCKS_MAX - 1);
        v.lock(f, &B, Shared, more, None).unwrap();
        if round == 0 {
            v.unlock(f, &A, LockRange::WHOLE).unwrap();
            v.release_owner(f, &B).unwrap();
        }
    }
    v.forget(f);
    assert_eq!(locks_in(v.image().store()), 0);
}

#[test]
fn damaged_tables_give_errors() {
    let (v, f) = fixture();
    let store = v.image().store().clone();
    for seed in 0..2_000_u32 {
        let mut state = seed.wrapping_mul(0x9e37_79b1) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        for _ in 0..8 {
            let (from, len) = match next() % 3 {
                0 => (rt::LOCK_FREE, 20),
                1 => (rt::LOCKS, 48 * 20),
                _ => (rt::LOCK_BUCKETS, rt::LOCK_BUCKETS_COUNT * 8),
            };
            let value = if next() % 2 == 0 { next() % 30 } else { next() };
            store.store(from + u64::from(next()) % len / 4 * 4, value);
        }
        // Whatever they answer, they answer.
        for at in 0..6 {
            let owner = [A, B][at as usize % 2];
            let mode = if next() % 2 == 0 { Shared } else { Exclusive };
            let _ = v.lock(f, &owner, mode, range(at * 3, at * 5), None);
            let _ = v.unlock(f, &owner, range(at * 2, at * 4));
            let _ = v.test_lock(f, &C, mode, LockRange::WHOLE);
        }
        let _ = v.release_owner(f, &A);
    }
    store.zero(rt::LOCK_WAITERS, u64::from(rt::LOCK_WAITERS_MAX) * rt::LOCK_SIZE_BYTES);
    v.release_client(1).unwrap();
    v.lock(f, &A, Exclusive, range(0, 0), None).unwrap();
}

/// Runs `work` in a thread and waits until it sleeps for a lock.
fn blocked<T: Send + 'static>(
    volume: &Arc<HeapVolume>,
    work: impl FnOnce(&HeapVolume) -> T + Send + 'static,
) -> std::thread::JoinHandle<T> {
    let store = volume.image().store();
    let before = store.load(rt::LOCK_WAITING);
    let own = volume.clone();
    let thread = std::thread::spawn(move || work(&own));
    let end = Instant::now() + Duration::from_secs(20);
    while store.load(rt::LOCK_WAITING) == before {
        assert!(Instant::now() < end && !thread.is_finished(), "nobody waits");
        std::thread::yield_now();
    }
    thread
}

#[test]
fn waiters_wake_in_turn() {
    let (v, f) = fixture();
    let v = Arc::new(v);
    v.lock(f, &A, Exclusive, range(0, 9), None).unwrap();
    let order = Arc::new(AtomicU32::new(0));
    let threads: Vec<_> = (0..6_u32)
        .map(|number| {
            let order = order.clone();
            blocked(&v, move |v| {
                let owner = LockOwner::process(u64::from(number) + 10, 0);
                v.lock(f, &owner, Exclusive, range(5, 5), Some(&Waiting::default())).unwrap();
                assert_eq!(order.fetch_add(1, Ordering::SeqCst), number);
                v.release_owner(f, &owner).unwrap();
            })
        })
        .collect();
    // A part that nobody wants is given up, then all of it.
    v.unlock(f, &A, range(0, 3)).unwrap();
    assert_eq!(order.load(Ordering::SeqCst), 0);
    v.lock(f, &A, Shared, range(4, 9), None).unwrap();
    v.release_owner(f, &A).unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(locks_in(v.image().store()), 0);
    assert_eq!(v.image().store().load(rt::LOCK_WAITING), 0);
}

#[test]
fn readers_let_a_writer_through() {
    let (v, f) = fixture();
    let v = Arc::new(v);
    let done = Arc::new(AtomicBool::new(false));
    // Two readers whose locks overlap in time without an end, if nobody stands back.
    let readers: Vec<_> = [A, B]
        .into_iter()
        .map(|owner| {
            let (v, done) = (v.clone(), done.clone());
            std::thread::spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    v.lock(f, &owner, Shared, LockRange::WHOLE, Some(&Waiting::default())).unwrap();
                    std::thread::sleep(Duration::from_millis(3));
                    v.release_owner(f, &owner).unwrap();
                }
            })
        })
        .collect();
    std::thread::sleep(Duration::from_millis(20));
    let patience = Waiting { timeout_ms: Some(20_000), ..Waiting::default() };
    let answer = v.lock(f, &C, Exclusive, LockRange::WHOLE, Some(&patience));
    done.store(true, Ordering::SeqCst);
    assert_eq!(answer, Ok(()));
    v.release_owner(f, &C).unwrap();
    for reader in readers {
        reader.join().unwrap();
    }
}

#[test]
fn waiting_ends_when_told() {
    let (v, f) = fixture();
    let v = Arc::new(v);
    v.lock(f, &A, Exclusive, LockRange::WHOLE, None).unwrap();
    let start = Instant::now();
    let wait = Waiting { timeout_ms: Some(120), ..Waiting::default() };
    assert_eq!(v.lock(f, &B, Shared, range(0, 0), Some(&wait)), Err(Errno::EINTR));
    assert!(start.elapsed() >= Duration::from_millis(100));
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let thread = blocked(&v, move |v| {
        let cancelled = || told.load(Ordering::SeqCst);
        let wait = Waiting { cancelled: Some(&cancelled), ..Waiting::default() };
        v.lock(f, &B, Shared, range(0, 0), Some(&wait))
    });
    stop.store(true, Ordering::SeqCst);
    assert_eq!(thread.join().unwrap(), Err(Errno::EINTR));
    assert_eq!(v.image().store().load(rt::LOCK_WAITING), 0);
    let flock = |id, mode, wait| v.flock(f, &LockOwner::open_file(id, 0), mode, wait);
    flock(1, Exclusive, None).unwrap();
    let wait = Waiting { timeout_ms: Some(10), ..Waiting::default() };
    assert_eq!(flock(2, Shared, Some(&wait)), Err(Errno::EINTR));
}

/// Who looks after something else while it waits is asked in short intervals.
#[test]
fn sleeps_are_as_short_as_wanted() {
    let (v, f) = fixture();
    v.lock(f, &A, Exclusive, LockRange::WHOLE, None).unwrap();
    let asked = AtomicU32::new(0);
    let cancelled = || {
        asked.fetch_add(1, Ordering::SeqCst);
        false
    };
    let wait = Waiting { timeout_ms: Some(40), cancelled: Some(&cancelled), slice_ms: Some(1) };
    assert_eq!(v.lock(f, &B, Shared, range(0, 0), Some(&wait)), Err(Errno::EINTR));
    assert_eq!(asked.load(Ordering::SeqCst), 40);
}

#[test]
fn who_leaves_the_store_waits_no_longer() {
    let (v, f) = fixture();
    let attached = || {
        let other = Arc::new(second(&v, 2));
        other.hold(f).unwrap();
        other
    };
    v.lock(f, &A, Exclusive, LockRange::WHOLE, None).unwrap();
    let wait_in = |client: &Arc<HeapVolume>| {
        blocked(client, move |client| {
            client.lock(f, &B, Exclusive, LockRange::WHOLE, Some(&Waiting::default()))
        })
    };
    let first = attached();
    let waiter = wait_in(&first);
    first.detach().unwrap();
    // The slot is another client's, which waits at the same place of the table.
    let next = attached();
    let later = wait_in(&next);
    assert_eq!(waiter.join().unwrap(), Err(Errno::ENODEV));
    assert_eq!(v.image().store().load(rt::LOCK_WAITING), 1);
    v.unlock(f, &A, LockRange::WHOLE).unwrap();
    assert_eq!(later.join().unwrap(), Ok(()));
    assert_eq!(first.lock(f, &B, Exclusive, LockRange::WHOLE, None), Err(Errno::ENODEV));
}

/// A request that came first stands before others only as long as its program lives.
#[test]
fn nobody_stands_back_for_the_dead() {
    let (v, f) = fixture();
    let v = Arc::new(v);
    let other = Arc::new(second(&v, 2));
    other.hold(f).unwrap();
    v.lock(f, &A, Shared, LockRange::WHOLE, None).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let first = blocked(&other, move |other| {
        let cancelled = || told.load(Ordering::SeqCst);
        let wait = Waiting { cancelled: Some(&cancelled), ..Waiting::default() };
        other.lock(f, &B, Exclusive, LockRange::WHOLE, Some(&wait))
    });
    // Its lock could be had at once, but for the one who came before.
    let second =
        blocked(&v, move |v| v.lock(f, &C, Shared, LockRange::WHOLE, Some(&Waiting::default())));
    // How often sleepers were told that there is something new: a word of each bucket.
    let told = || {
        let buckets = (0..rt::LOCK_BUCKETS_COUNT).map(|index| index * rt::LOCK_BUCKET_SIZE_BYTES);
        buckets.map(|at| v.image().store().load(rt::LOCK_BUCKETS + at + 4)).sum::<u32>()
    };
    let before = told();
    v.release_client(2).unwrap();
    assert!(told() > before);
    assert_eq!(second.join().unwrap(), Ok(()));
    stop.store(true, Ordering::SeqCst);
    assert_eq!(first.join().unwrap(), Err(Errno::EINTR));
}

#[test]
fn deadlocks_of_two_and_three_are_found() {
    let (v, f) = fixture();
    let g = held_file(&v, b"g");
    let v = Arc::new(v);
    let forever = Waiting::default();
    let lock = move |v: &HeapVolume, ino, owner: &LockOwner, byte| {
        v.lock(ino, owner, Exclusive, range(byte, byte), Some(&forever))
    };
    for (ino, owner, byte) in [(f, A, 0), (f, B, 1), (g, C, 0)] {
        lock(&v, ino, &owner, byte).unwrap();
    }
    // Of two: A waits for B, which then wants what A has.
    let a = blocked(&v, move |v| lock(v, f, &A, 1));
    assert_eq!(lock(&v, f, &B, 0), Err(Errno::EDEADLK));
    // Of three, over two files: A waits for B, B for C, and C wants what A has.
    let b = blocked(&v, move |v| lock(v, g, &B, 0));
    assert_eq!(lock(&v, f, &C, 0), Err(Errno::EDEADLK));
    // One that only comes into being while all sleep: A gets what C has, by the hands of another thread.
    v.unlock(g, &C, LockRange::WHOLE).unwrap();
    assert_eq!(b.join().unwrap(), Ok(()));
    v.release_owner(f, &B).unwrap();
    assert_eq!(a.join().unwrap(), Ok(()));
    // Open files: another process may end the wait, so nothing is found.
    let [x, y] = [1, 2].map(|id| LockOwner::open_file(id, 0));
    lock(&v, f, &x, 10).unwrap();
    lock(&v, f, &y, 11).unwrap();
    let thread = blocked(&v, move |v| lock(v, f, &x, 11));
    let wait = Waiting { timeout_ms: Some(60), ..Waiting::default() };
    assert_eq!(v.lock(f, &y, Exclusive, range(10, 10), Some(&wait)), Err(Errno::EINTR));
    v.release_owner(f, &y).unwrap();
    assert_eq!(thread.join().unwrap(), Ok(()));
}

#[test]
fn a_deadlock_that_forms_while_all_sleep_is_found() {
    let (v, f) = fixture();
    let v = Arc::new(v);
    let lock = move |v: &HeapVolume, owner: &LockOwner, byte| {
        v.lock(f, owner, Exclusive, range(byte, byte), Some(&Waiting::default()))
    };
    lock(&v, &A, 0).unwrap();
    lock(&v, &C, 1).unwrap();
    // B waits for A's byte, A for C's. Then another thread of B gets C's byte: A and B wait for each other.
    let b = blocked(&v, move |v| lock(v, &B, 0));
    let a = blocked(&v, move |v| lock(v, &A, 1));
    v.unlock(f, &C, range(1, 1)).unwrap();
    let taken = v.lock(f, &B, Exclusive, range(1, 1), None);
    if taken == Ok(()) {
        let end = Instant::now() + Duration::from_secs(20);
        while !a.is_finished() && !b.is_finished() {
            assert!(Instant::now() < end, "nobody notices");
            std::thread::sleep(Duration::from_millis(1));
        }
        // Whoever noticed gives up what he has, so that the other one goes on.
        v.release_owner(f, &if a.is_finished() { A } else { B }).unwrap();
        let mut answers = [a.join().unwrap(), b.join().unwrap()];
        answers.sort_by_key(Result::is_ok);
        assert_eq!(answers, [Err(Errno::EDEADLK), Ok(())]);
    } else {
        // A was quicker: no deadlock.
        assert_eq!(a.join().unwrap(), Ok(()));
        v.release_owner(f, &A).unwrap();
        assert_eq!(b.join().unwrap(), Ok(()));
    }
}

/// A counter that only locks protect, used by threads of two clients.
#[test]
fn locks_exclude() {
    let (v, f) = fixture();
    let other = Arc::new(second(&v, 2));
    other.hold(f).unwrap();
    let v = Arc::new(v);
    let rounds = 300;
    let threads: Vec<_> = (0..4_u64)
        .map(|number| {
            let v = if number % 2 == 0 { v.clone() } else { other.clone() };
            std::thread::spawn(move || {
                let owner = LockOwner::process(number, 0);
                for _ in 0..rounds {
                    v.lock(f, &owner, Exclusive, range(3, 4), Some(&Waiting::default())).unwrap();
                    let mut count = [0; 8];
                    v.read(f, 0, &mut count).unwrap();
                    let next = u64::from_le_bytes(count) + 1;
                    v.write(f, 0, &next.to_le_bytes()).unwrap();
                    v.unlock(f, &owner, LockRange::WHOLE).unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let mut count = [0; 8];
    v.read(f, 0, &mut count).unwrap();
    assert_eq!(u64::from_le_bytes(count), 4 * rounds);
}

#[test]
fn a_file_that_one_client_maps_to_write_is_no_others_to_map() {
    let (first, ino) = fixture();
    let other = second(&first, 2);
    other.hold(ino).unwrap();
    assert_eq!(first.map_shared(ino, &A, false), Ok(()));
    assert_eq!(other.map_shared(ino, &A, false), Ok(()));
    // Who only reads does not see what is stored.
    assert_eq!(first.map_shared(ino, &A, true), Err(Errno::ENODEV));
    assert_eq!(other.unmap_shared(ino, &A), Ok(()));
    assert_eq!(first.map_shared(ino, &A, true), Ok(()));
    assert_eq!(other.map_shared(ino, &A, false), Err(Errno::ENODEV));
    assert_eq!(other.map_shared(ino, &A, true), Err(Errno::ENODEV));
    // Locks do not know of it.
    assert_eq!(other.lock(ino, &B, Exclusive, LockRange::WHOLE, None), Ok(()));
    assert_eq!(other.flock(ino, &LockOwner::open_file(1, 0), Exclusive, None), Ok(()));
    assert_eq!(first.unmap_shared(ino, &A), Ok(()));
    assert_eq!(other.map_shared(ino, &A, true), Ok(()));
    // It goes with the client.
    other.release_client(2).unwrap();
    assert_eq!(first.map_shared(ino, &A, true), Ok(()));
}
