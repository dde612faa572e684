//! Clients with a few calls each on one small volume; what they are told must fit together, and nothing may be left
//! of those who die.

use super::super::volumes::{self, ROOT, directory, file, now};
use super::history::{Answer, Call, DIRS, Event, FILES, State, linearisable};
use super::store::ShuttleStore;
use crate::core::check::check;
use crate::core::count_free;
use crate::core::rules::Rules;
use crate::errno::Errno;
use crate::store::clients::{self, ClientId};
use crate::store::lock::SLICE_MS;
use crate::store::mortal::{self, Mortal};
use crate::store::runtime::{self as rt, Bitmap, Durability};
use crate::store::{HeapStore, Store};
use crate::vfs::{Ino, Refusal, RenameFlags, SetAttr, Volume};
use shuttle::rand::{Rng, thread_rng};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

const BLOCKS: u32 = 96;
const NAMES: &[u8] = b"abcd";
/// Accesses after which a client that is to die has died, for the most part.
const LIFE_MAX: u64 = 600;
/// Calls of a client.
const CALLS: u32 = 4;

type Client = Volume<Mortal<ShuttleStore>>;

/// What the schedules had in them.
#[derive(Default)]
pub struct Seen {
    calls: AtomicU64,
    deaths: AtomicU64,
    accesses: AtomicU64,
    refusals: AtomicU64,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [calls, deaths, accesses, refusals] =
            [&self.calls, &self.deaths, &self.accesses, &self.refusals]
                .map(|count| count.load(Ordering::Relaxed));
        write!(f, "{calls} calls, {deaths} deaths, {refusals} refusals, {accesses} accesses")
    }
}

/// A volume with two directories and three files that the founder, client 60, holds.
struct Base {
    bytes: Vec<u8>,
    dirs: [Ino; DIRS],
    state: State,
}

fn base() -> &'static Base {
    static BASE: OnceLock<Base> = OnceLock::new();
    BASE.get_or_init(|| {
        let volume = volumes::found(BLOCKS, Durability::Memory);
        let dirs = [&b"x"[..], b"y"].map(|name| volume.create(ROOT, name, &directory()).unwrap().ino);
        let mut names = [BTreeMap::new(), BTreeMap::new()];
        let inos = [(0, b'a'), (0, b'b'), (1, b'a')].map(|(dir, name): (usize, u8)| {
            let ino = volume.create(dirs[dir], &[name], &file()).unwrap().ino;
            names[dir].insert(name, ino);
            ino
        });
        // In the inode, in a block, in two of them.
        let files = [50, 3_000, 6_000].map(|len| vec![1; len]);
        for (ino, bytes) in inos.into_iter().zip(&files) {
            volume.write(ino, 0, bytes).unwrap();
            volume.hold(ino).unwrap();
        }
        let store = volume.image().store();
        // Who attaches with this number takes what is held over.
        let mut bytes = vec![0; store.size_bytes() as usize];
        store.read(0, &mut bytes);
        Base { bytes, dirs, state: State { dirs: names, files, inos } }
    })
}

fn some_call() -> Call {
    let mut dice = thread_rng();
    let mut below = |end: usize| dice.gen_range(0..end);
    let place = |dir: usize, name: usize| (dir, NAMES[name]);
    let from = place(below(DIRS), below(NAMES.len()));
    let to = place(below(DIRS), below(NAMES.len()));
    let offsets = [0, 10, 90, 2_990, 3_100, 4_096, 5_000, 8_192];
    match below(10) {
        0 | 1 => Call::Create(from),
        2 => Call::Unlink(from),
        3 => Call::Rename(from, to),
        4..=6 => {
            let (offset, byte) = (offsets[below(offsets.len())], below(200) as u8 + 2);
            // Within a block: it is there as a whole or not at all.
            let room = 4_096 - offset as usize % 4_096;
            Call::Write(below(FILES), offset, [4, 40, 900][below(3)].min(room), byte)
        }
        7 => Call::Truncate(below(FILES), [0, 20, 3_000, 4_096, 9_000][below(5)]),
        8 => Call::Read(below(FILES)),
        _ => Call::List(below(DIRS)),
    }
}

fn ask<S: Store>(volume: &Volume<S>, call: &Call) -> Answer {
    let Base { dirs, state, .. } = base();
    let answer = |result: Result<(), Errno>| result.map_or_else(Answer::Error, |()| Answer::Done);
    match *call {
        Call::Create((dir, name)) => volume
            .create(dirs[dir], &[name], &file())
            .map_or_else(Answer::Error, |attr| Answer::Made(attr.ino)),
        Call::Unlink((dir, name)) => answer(volume.unlink(dirs[dir], &[name])),
        Call::Rename(from, to) => {
            let flags = RenameFlags::empty();
            answer(volume.rename(dirs[from.0], &[from.1], dirs[to.0], &[to.1], flags))
        }
        Call::Write(file, offset, len, byte) => {
            let done = volume.write(state.inos[file], offset, &vec![byte; len]);
            answer(done.map(|count| assert_eq!(count, len)))
        }
        Call::Truncate(file, size) => {
            let set = SetAttr { size_bytes: Some(size), ..Default::default() };
            answer(volume.setattr(state.inos[file], &set).map(drop))
        }
        Call::Read(file) => {
            let mut bytes = vec![0; 12_000];
            let done = volume.read(state.inos[file], 0, &mut bytes);
            done.map_or_else(Answer::Error, |count| {
                bytes.truncate(count);
                Answer::Bytes(bytes)
            })
        }
        Call::List(dir) => {
            let mut names = Vec::new();
            let done = volume.list(dirs[dir], &mut |name, ino, _| {
                names.push((name[0], ino));
                true
            });
            names.sort_unstable();
            done.map_or_else(Answer::Error, |()| Answer::Names(names))
        }
    }
}

/// What all clients share beside the store: what their front end knows.
struct Front {
    store: Arc<ShuttleStore>,
    graves: Mutex<Vec<ClientId>>,
    seen: Arc<Seen>,
}

/// How a client waits.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// In its calls.
    Patient,
    /// Between its calls, which are refused.
    Brief,
    /// As that, and under one gate for each call.
    Keeping,
}

/// Calls until it is not refused.
fn insist<T>(
    client: &Client,
    manner: Manner,
    refusals: &AtomicU64,
    call: impl Fn() -> Result<T, Errno>,
) -> Result<T, Errno> {
    if manner == Manner::Patient {
        return call();
    }
    let mut before: Option<Refusal> = None;
    loop {
        client.be_brief(Some(0), before.as_ref());
        let answer = match manner {
            Manner::Keeping => client.keep_gate().and_then(|()| call()),
            _ => call(),
        };
        client.give_gate();
        if !matches!(answer, Err(Errno::EAGAIN)) {
            if let Some(refusal) = before {
                client.done_with(refusal);
            }
            return answer;
        }
        refusals.fetch_add(1, Ordering::Relaxed);
        let mut refusal = client.refusal();
        // The time that this takes is nobody's here.
        while let Some(sleep) = refusal.poll(client, 0)? {
            client.image().store().wait(sleep.word, sleep.value, SLICE_MS);
        }
        before = Some(refusal);
    }
}

/// A client's life.
fn live(id: ClientId, client: Client, life: Mortal<ShuttleStore>, front: &Front) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let (seen, manners) =
        (&*front.seen, [Manner::Patient, Manner::Patient, Manner::Brief, Manner::Keeping]);
    let manner = manners[thread_rng().gen_range(0..manners.len())];
    // What is not one operation takes the gate by itself.
    let alone = if manner == Manner::Keeping { Manner::Brief } else { manner };
    let lives = mortal::run(|| {
        for _ in 0..CALLS {
            let grave = front.graves.lock().unwrap().pop();
            if let Some(grave) = grave {
                insist(&client, alone, &seen.refusals, || client.bury(grave)).unwrap();
            }
            let call = some_call();
            events.push(Event { call: call.clone(), begun: front.store.time(), answer: None });
            let answer = insist(&client, manner, &seen.refusals, || match ask(&client, &call) {
                Answer::Error(Errno::EAGAIN) => Err(Errno::EAGAIN),
                answer => Ok(answer),
            });
            let answer = answer.unwrap_or_else(Answer::Error);
            let last = events.last_mut().expect("just pushed");
            last.answer = Some((front.store.time(), answer));
        }
        insist(&client, alone, &seen.refusals, || client.detach()).unwrap();
    });
    life.dies_at(0, false);
    drop(client);
    if lives.is_none() {
        // It may have died at the very end, when its slot was free already.
        if clients::mark_dead(&*front.store, id) {
            front.store.end_sleeps();
        }
        front.graves.lock().unwrap().push(id);
    }
    events
}

/// One schedule.
pub fn play(rules: Rules, deaths: bool, seen: &Arc<Seen>) {
    let base = base();
    let heap = Arc::new(HeapStore::new(base.bytes.len() as u64));
    heap.write(0, &base.bytes);
    let store = ShuttleStore::new(heap.clone(), if deaths { 40 } else { 0 });
    let front = Arc::new(Front { store: store.clone(), graves: Mutex::default(), seen: seen.clone() });
    let count = thread_rng().gen_range(3..=4);
    let mut dead = Vec::new();
    let clients: Vec<_> = (1..=count)
        .map(|number| {
            let life = Mortal::new(&store);
            let mut client = Volume::attach(life.clone(), number, now).unwrap();
            client.image_mut().set_rules(rules);
            let id = client.client();
            if deaths && thread_rng().gen_bool(0.5) {
                life.dies_at(thread_rng().gen_range(1..LIFE_MAX), false);
                dead.push(id);
            }
            (id, client, life)
        })
        .collect();
    let threads: Vec<_> = clients
        .into_iter()
        .map(|(id, client, life)| {
            let front = front.clone();
            shuttle::thread::spawn(move || live(id, client, life, &front))
        })
        .collect();
    let mut history: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    // Everybody else has ended: what follows needs no schedules.
    let mut founder = Volume::attach(heap.clone(), 61, now).unwrap();
    founder.image_mut().set_rules(rules);
    for grave in dead {
        founder.bury(grave).unwrap();
    }
    let all = (0..DIRS).map(Call::List).chain((0..FILES).map(Call::Read));
    let last = all.map(|call| {
        let begun = store.time();
        let answer = ask(&founder, &call);
        Event { call, begun, answer: Some((store.time(), answer)) }
    });
    let last: Vec<_> = last.collect();
    seen.calls.fetch_add(history.iter().map(|events| events.len() as u64).sum(), Ordering::Relaxed);
    let unanswered = history.iter().flatten().filter(|event| event.answer.is_none()).count();
    seen.deaths.fetch_add(unanswered as u64, Ordering::Relaxed);
    seen.accesses.fetch_add(store.time(), Ordering::Relaxed);
    history.push(last);
    inspect(&founder);
    if let Err(what) = linearisable(&base.state, &history) {
        panic!("{what}");
    }
}

/// Nothing is left of the dead, or of an operation.
fn inspect(founder: &Volume<Arc<HeapStore>>) {
    let (image, store) = (founder.image(), founder.image().store());
    let report = check(founder.core());
    assert!(report.is_clean(), "{report}");
    for word in [rt::GATE, rt::LOCK_GUARD, rt::LOCK_COUNT, rt::LOG_WATCHERS, rt::LOG_WATCHERS + 4] {
        assert_eq!(store.load(word), 0, "word {word}");
    }
    assert_eq!((0..BLOCKS).filter(|&block| image.bit(Bitmap::Reserved, block)).count(), 0, "reserved");
    assert_eq!(store.load(rt::FREE_BLOCKS), count_free(image), "free blocks");
    let slots: Vec<_> = clients::slots().filter(|&slot| clients::id(store, slot).is_some()).collect();
    assert_eq!(slots, [60, 61], "slots");
    for slot in clients::slots() {
        let state = store.load(rt::REDO + u64::from(slot - 1) * rt::REDO_SIZE_BYTES);
        assert_eq!(state, 0, "redo slot {slot}");
    }
    for stripe in 0..rt::STRIPES_COUNT {
        let sequence = store.load(rt::STRIPES + stripe * rt::STRIPE_SIZE_BYTES + 4);
        assert!(sequence.is_multiple_of(2), "stripe {stripe} is odd");
    }
    for entry in 0..rt::OPEN_TABLE_COUNT {
        let at = rt::OPEN_TABLE + entry * rt::OPEN_ENTRY_SIZE_BYTES;
        let holders = (store.load(at + 8), store.load(at + 12) & !(1 << 27));
        assert_eq!(holders, (0, 0), "inode {} is held", store.load(at));
    }
}
