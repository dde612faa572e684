//! One operation of a client who dies at it, in a small volume that others use, too.

use super::ROOT;
use super::scenes::Scene;
use super::tree::{Tree, judge, tree};
use crate::core::check::check;
use crate::core::inodes::{for_each_table_block, inode_in};
use crate::core::log::What;
use crate::core::rules::Rules;
use crate::core::{Core, DirView, Image, Room, extent};
use crate::format::{BLOCK_SIZE, FileKind, HEADER_SIZE_BYTES, INODES_PER_BLOCK, SYMLINK_INLINE_MAX};
use crate::store::clients::{self, ClientId};
use crate::store::mortal::{self, Mortal};
use crate::store::runtime::{self as rt, Bitmap, Durability};
use crate::store::{HeapStore, Store};
use crate::vfs::{Event, Ino, LockMode, LockOwner, LockRange, NewInode, RenameFlags, Volume, Watcher};
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Arc;

pub const BLOCKS: u32 = 160;
const VICTIM: u32 = 1;
const WITNESS: u32 = 2;
const HEIR: u32 = 3;

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(1_000) };
}

fn now() -> i64 {
    NOW.get()
}

/// Under which circumstances.
#[derive(Clone, Copy)]
pub struct Setting {
    pub room: Room,
    pub rules: Rules,
}

impl Default for Setting {
    fn default() -> Self {
        Self { room: Room::ALL, rules: Rules::default() }
    }
}

/// Who dies when.
#[derive(Clone, Copy, Debug)]
pub struct Death {
    /// At which access of the operation.
    pub access: u64,
    /// In the middle of it, if it is a write.
    pub torn: bool,
    /// At which access who recovers dies, too.
    pub heir: Option<u64>,
    /// Whether somebody goes on before the dead are buried.
    pub hurry: bool,
}

/// What is on the stage when a scene begins.
pub struct Stage {
    pub victim: Volume<Mortal>,
    pub witness: Volume<Arc<HeapStore>>,
    /// What the victim keeps beyond an operation.
    pub watcher: Option<Watcher<Mortal>>,
    pub store: Mortal,
}

impl Stage {
    /// What a path leads to.
    pub fn ino(&self, path: &[u8]) -> Ino {
        self.witness.walk(ROOT, ROOT, path, Default::default()).unwrap().ino
    }

    pub fn clock(&self) -> fn() -> i64 {
        now
    }
}

/// An operation that nothing ended.
pub struct Whole {
    pub accesses: u64,
    pub redo_bytes: u32,
    before: Tree,
    after: Tree,
    orphans: [u32; 2],
    events: Vec<(What, Ino, Vec<u8>)>,
}

pub struct World {
    scene: &'static Scene,
    setting: Setting,
    store: Arc<HeapStore>,
    /// The store as each performance begins.
    bytes: Vec<u8>,
    /// The image as it is in its file.
    clean: Vec<u8>,
}

pub fn file() -> NewInode {
    NewInode { kind: FileKind::Regular, permissions: 0o640, uid: 1, gid: 2, rdev: 0 }
}

pub fn directory() -> NewInode {
    NewInode { kind: FileKind::Directory, ..file() }
}

/// Everything is in the files.
fn make_clean(image: &Image<Arc<HeapStore>>) {
    for map in [Bitmap::Dirty, Bitmap::Fresh, Bitmap::Quarantine] {
        image.clear_bits(map);
    }
    let store = image.store();
    store.fetch_add(rt::FREE_BLOCKS, store.load(rt::QUARANTINE_COUNT));
    for count in [rt::DIRTY_COUNT, rt::DIRTY_META_COUNT, rt::QUARANTINE_COUNT] {
        store.store(count, 0);
    }
}

impl World {
    pub fn new(scene: &'static Scene, setting: Setting) -> Self {
        NOW.set(1_000);
        let size_bytes = rt::store_size_bytes(scene.blocks);
        let store = Arc::new(HeapStore::new(size_bytes));
        Image::prepare(&store, 1, Durability::Strict).unwrap();
        let founder = Volume::format(store.clone(), HEIR, now, [7; 32]).unwrap();
        super::scenes::found(&founder);
        make_clean(founder.image());
        founder.detach().unwrap();
        let mut bytes = vec![0; size_bytes as usize];
        store.read(0, &mut bytes);
        Self { scene, setting, store, bytes, clean: Vec::new() }
    }

    /// Raises the curtain: everybody is there, and what the scene needs has been done.
    fn stage(&mut self) -> Stage {
        NOW.set(2_000);
        self.store.write(0, &self.bytes);
        let mortal = Mortal::new(&self.store);
        let mut victim = Volume::attach(mortal.clone(), VICTIM, now).unwrap();
        let mut witness = Volume::attach(self.store.clone(), WITNESS, now).unwrap();
        victim.core.image.set_rules(self.setting.rules);
        victim.core.image.set_redo_room(self.setting.room);
        witness.core.image.set_rules(self.setting.rules);
        let mut stage = Stage { victim, witness, watcher: None, store: mortal };
        (self.scene.setup)(&mut stage);
        // Somebody else has changed since what the victim changed before.
        let (victim, witness) = (&stage.victim, &stage.witness);
        victim.rename(ROOT, b"ball", ROOT, b"thrown", RenameFlags::empty()).unwrap();
        witness.rename(ROOT, b"thrown", ROOT, b"caught", RenameFlags::empty()).unwrap();
        let kept = stage.ino(b"/kept");
        witness.hold(kept).unwrap();
        let owner = LockOwner::process(9, 9);
        witness.lock(kept, &owner, LockMode::Shared, LockRange::WHOLE, None).unwrap();
        make_clean(witness.image());
        let image = witness.image();
        let start = image.block_offset(0);
        self.clean.resize((self.store.size_bytes() - start) as usize, 0);
        self.store.read(start, &mut self.clean);
        NOW.set(3_000);
        stage
    }

    /// The operation from its beginning to its end.
    pub fn rehearse(&mut self) -> Whole {
        let mut stage = self.stage();
        let before = tree(&stage.witness);
        let orphans = self.orphans(&stage.witness);
        let mut watcher = stage.witness.watch().unwrap();
        stage.store.dies_at(u64::MAX, false);
        (self.scene.op)(&mut stage);
        let accesses = u64::MAX - stage.store.left();
        let redo_bytes = self.store.load(rt::REDO + 4);
        stage.store.dies_at(u64::MAX, false);
        let witness = self.epilogue(stage).unwrap();
        let after = tree(&witness);
        let events = events(&mut watcher, 0).expect("nobody was overtaken");
        drop(watcher);
        let whole = Whole {
            accesses,
            redo_bytes,
            orphans: [orphans, self.orphans(&witness)],
            before,
            after,
            events,
        };
        self.inspect(&witness, &whole).unwrap_or_else(|what| panic!("{}: {what}", self.scene.name));
        whole
    }

    /// The victim is dead: everybody else buries it. Gives who is left.
    fn epilogue(&self, stage: Stage) -> Result<Volume<Arc<HeapStore>>, String> {
        let Stage { victim, witness, watcher, store } = stage;
        // Nothing of it touches the store any more.
        store.dies_at(0, false);
        drop((watcher, victim));
        for dead in self.all_are_dead(&[WITNESS]) {
            witness.bury(dead).map_err(|errno| format!("burying {dead:?}: {errno}"))?;
        }
        Ok(witness)
    }

    /// Everybody else has died: one end may have been that of several clients.
    fn all_are_dead(&self, living: &[u32]) -> Vec<ClientId> {
        let others = clients::slots().filter(|slot| !living.contains(slot));
        let dead: Vec<_> = others.filter_map(|slot| clients::id(&self.store, slot)).collect();
        dead.iter().for_each(|&dead| {
            clients::mark_dead(&self.store, dead);
        });
        dead
    }

    /// Plays a scene in which clients die. Gives how many accesses the heir made.
    pub fn play(&mut self, whole: &Whole, death: Death) -> Result<u64, String> {
        let mut stage = self.stage();
        let mut watcher = stage.witness.watch().map_err(|errno| errno.to_string())?;
        let mut heir = death.heir.map(|_| {
            let mortal = Mortal::new(&self.store);
            let mut heir = Volume::attach(mortal.clone(), HEIR, now).unwrap();
            heir.core.image.set_rules(self.setting.rules);
            heir.core.image.set_redo_room(self.setting.room);
            (heir, mortal)
        });
        let change = self.store.load(rt::CHANGE);
        let scratch = stage.ino(b"/scratch");
        stage.store.dies_at(death.access, death.torn);
        let op = self.scene.op;
        if mortal::run(|| op(&mut stage)).is_some() && stage.store.left() > 0 {
            return Err(format!("it did not die, {} accesses were left", stage.store.left()));
        }
        let dead = clients::id(&self.store, VICTIM);
        let mut accesses = 0;
        if let (Some((heir, mortal)), Some(access)) = (&mut heir, death.heir) {
            self.all_are_dead(&[WITNESS, HEIR]);
            mortal.dies_at(access, death.torn);
            let answer = mortal::run(|| dead.map_or(Ok(()), |dead| heir.bury(dead)));
            answer.unwrap_or(Ok(())).map_err(|errno| format!("the heir of {dead:?}: {errno}"))?;
            accesses = access - mortal.left();
            mortal.dies_at(0, false);
        }
        drop(heir);
        if death.hurry {
            self.all_are_dead(&[WITNESS]);
            stage.witness.write(scratch, 0, b"in a hurry").map_err(|errno| errno.to_string())?;
        }
        let witness = self.epilogue(stage)?;
        let found = tree(&witness);
        if let Some(what) = judge(&found, &whole.before, &whole.after, self.scene.left) {
            return Err(what);
        }
        let told = events(&mut watcher, scratch);
        drop(watcher);
        if found != whole.before {
            if self.store.load(rt::CHANGE) == change {
                return Err("no change was counted".into());
            }
            if told.as_ref().is_some_and(|told| *told != whole.events) && !self.scene.silent {
                return Err(format!("{told:?} was told, not {:?}", whole.events));
            }
        }
        self.inspect(&witness, whole)?;
        go_on(&witness).map_err(|errno| format!("nothing goes on: {errno}"))?;
        let report = check(witness.core());
        if report.is_clean() { Ok(accesses) } else { Err(format!("after going on: {report}")) }
    }

    fn orphans(&self, witness: &Volume<Arc<HeapStore>>) -> u32 {
        let mut orphans = 0;
        for_each_table_block(witness.core(), &mut |block, _| {
            orphans += block.orphans.count_ones();
            Ok(())
        })
        .unwrap();
        orphans
    }

    /// Whether everything is in order that only shows later.
    fn inspect(&self, witness: &Volume<Arc<HeapStore>>, whole: &Whole) -> Result<(), String> {
        let report = check(witness.core());
        if !report.is_clean() {
            return Err(report.to_string());
        }
        let orphans = self.orphans(witness);
        if !whole.orphans.contains(&orphans) {
            return Err(format!("{orphans} orphans"));
        }
        let (store, image) = (&self.store, witness.image());
        let bits = |map: Bitmap| (0..BLOCKS).filter(|&b| image.bit(map, b)).count() as u32;
        let dirty_metas = (0..BLOCKS).filter(|&b| image.bit(Bitmap::Dirty, b));
        let dirty_metas = dirty_metas.filter(|&b| image.bit(Bitmap::Meta, b)).count() as u32;
        let (watchers, watching) = clients::mask_of(WITNESS);
        for (name, found, right) in [
            ("the gate", store.load(rt::GATE), 0),
            ("the guard", store.load(rt::LOCK_GUARD), 0),
            ("reserved blocks", bits(Bitmap::Reserved), 0),
            ("dirty blocks", store.load(rt::DIRTY_COUNT), bits(Bitmap::Dirty)),
            ("dirty metadata", store.load(rt::DIRTY_META_COUNT), dirty_metas),
            ("quarantined blocks", store.load(rt::QUARANTINE_COUNT), bits(Bitmap::Quarantine)),
            ("watchers", store.load(rt::LOG_WATCHERS + watchers) & !watching, 0),
            ("watchers", store.load(rt::LOG_WATCHERS + 4 - watchers), 0),
            ("waiters", store.load(rt::LOCK_WAITING), 0),
        ] {
            if found != right {
                return Err(format!("{name}: {found}, not {right}"));
            }
        }
        for slot in clients::slots().filter(|&slot| slot != WITNESS) {
            if clients::id(store, slot).is_some() {
                return Err(format!("slot {slot} was not given back"));
            }
        }
        for slot in clients::slots() {
            let state = store.load(rt::REDO + u64::from(slot - 1) * rt::REDO_SIZE_BYTES);
            if state != 0 && self.setting.rules.on(crate::core::rules::Rule::EmptyBeforeOpening) {
                return Err(format!("redo slot {slot} is not empty"));
            }
        }
        for stripe in 0..rt::STRIPES_COUNT {
            if !store.load(rt::STRIPES + stripe * rt::STRIPE_SIZE_BYTES + 4).is_multiple_of(2) {
                return Err(format!("stripe {stripe} is odd"));
            }
        }
        for entry in 0..rt::OPEN_TABLE_COUNT {
            let at = rt::OPEN_TABLE + entry * rt::OPEN_ENTRY_SIZE_BYTES;
            if store.load(at + 8) & !(1 << (WITNESS - 1)) != 0 || store.load(at + 12) != 0 {
                return Err(format!("inode {} is held by the dead", store.load(at)));
            }
        }
        let mut locks = 0;
        for index in 0..u64::from(rt::LOCKS_MAX) {
            let at = rt::LOCKS + index * rt::LOCK_SIZE_BYTES;
            if store.load(at) != 0 {
                locks += 1;
                if store.load(at + 12) != WITNESS {
                    return Err("a lock is held by the dead".into());
                }
            }
        }
        if locks != store.load(rt::LOCK_COUNT) || locks == 0 {
            return Err(format!("{locks} locks, {} counted", store.load(rt::LOCK_COUNT)));
        }
        self.covered(witness)
    }

    /// Whether everything that differs from the files is marked to be written, as what it is.
    fn covered(&self, witness: &Volume<Arc<HeapStore>>) -> Result<(), String> {
        let image = witness.image();
        let metas = metadata(witness.core());
        let geometry = image.geometry();
        let mut bytes = [0; BLOCK_SIZE];
        for block in 0..geometry.image_blocks() {
            let used = geometry.place(block).is_none_or(|place| {
                let mut byte = [0];
                let at = HEADER_SIZE_BYTES + (place.bit / 8) as usize;
                image.read(geometry.group_start(place.group), at, &mut byte);
                byte[0] >> (place.bit % 8) & 1 == 1
            });
            if !used {
                if image.bit(Bitmap::Dirty, block) {
                    return Err(format!("block {block} is nobody's and dirty"));
                }
                continue;
            }
            let (dirty, meta) = (image.bit(Bitmap::Dirty, block), image.bit(Bitmap::Meta, block));
            image.read_block(block, &mut bytes);
            let at = block as usize * BLOCK_SIZE;
            if self.clean[at..at + BLOCK_SIZE] != bytes && !dirty {
                return Err(format!("block {block} has changed and is not dirty"));
            }
            if meta && !metas.contains(&block) || dirty && !meta && metas.contains(&block) {
                return Err(format!("block {block} is marked as what it is not: {meta}"));
            }
        }
        Ok(())
    }
}

/// Which blocks hold metadata.
fn metadata<S: Store>(core: &Core<S>) -> HashSet<u32> {
    let image = &core.image;
    let geometry = image.geometry();
    let mut found: HashSet<u32> = [0, 1].into();
    found.extend((0..geometry.groups()).map(|group| geometry.group_start(group)));
    let mut inodes = Vec::new();
    for_each_table_block(core, &mut |table, bytes| {
        found.insert(table.block);
        for slot in (0..INODES_PER_BLOCK).filter(|slot| table.used >> slot & 1 == 1) {
            inodes.push(inode_in(bytes, table.part * INODES_PER_BLOCK + slot, &geometry)?);
        }
        Ok(())
    })
    .unwrap();
    for inode in inodes.iter().filter(|inode| inode.number != 0) {
        match inode.kind {
            FileKind::Regular => extent::walk(image, inode, &mut |visit| {
                if let extent::Visit::Node(block) = visit {
                    found.insert(block);
                }
                Ok(())
            }),
            FileKind::Directory => {
                DirView::new(image, inode, &core.superblock.hash_key).walk(&mut |block, _, _| {
                    found.insert(block);
                    Ok(())
                })
            }
            _ => Ok(()),
        }
        .unwrap();
        if inode.kind == FileKind::Symlink && inode.raw.size.get() > SYMLINK_INLINE_MAX as u64 {
            found.insert(inode.symlink_block());
        }
        found.insert(inode.raw.xattr_block.get());
    }
    found
}

/// What a watcher was told, but of one inode; none when it was overtaken.
fn events(watcher: &mut Watcher<Arc<HeapStore>>, but: Ino) -> Option<Vec<(What, Ino, Vec<u8>)>> {
    let mut told = Vec::new();
    while let Some(event) = watcher.next() {
        match event {
            Event::Change(record) if record.ino == but => {}
            Event::Change(record) => told.push((record.what, record.ino, record.name)),
            Event::Overflow => return None,
        }
    }
    Some(told)
}

/// Whether everything can still be done.
fn go_on(witness: &Volume<Arc<HeapStore>>) -> Result<(), crate::errno::Errno> {
    let dir = witness.create(ROOT, b"scratch.d", &directory())?.ino;
    let made = witness.create(dir, b"made", &file())?.ino;
    witness.write(made, 0, &[5; 9_000])?;
    witness.rename(dir, b"made", ROOT, b"scratch.f", RenameFlags::empty())?;
    witness.unlink(ROOT, b"scratch.f")?;
    witness.rmdir(ROOT, b"scratch.d")?;
    let kept = witness.lookup(ROOT, b"kept")?.ino;
    let owner = LockOwner::process(9, 9);
    witness.lock(kept, &owner, LockMode::Exclusive, LockRange::WHOLE, None)
}
