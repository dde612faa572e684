//! How proptest makes and shrinks operations.

use super::operations::{Name, Operation, XattrName};
use proptest::prelude::*;

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        12 => any::<u8>().prop_map(Name::Short),
        4 => (0..24_u8).prop_map(Name::Long),
        1 => any::<u8>().prop_map(Name::Odd),
    ]
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => 0..40_000_u64,
        4 => 0..1_000_000_u64,
        2 => (0..300_u64).prop_map(|block| block * 4096),
        1 => any::<u32>().prop_map(u64::from),
        1 => (0..40_000_u64).prop_map(|below| (u64::from(u32::MAX) * 4096).wrapping_sub(20_000) + below),
        1 => any::<u64>(),
    ]
}

fn len() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0..200_u32, 6 => 0..30_000_u32, 1 => 0..300_000_u32]
}

fn fill(most: u16) -> impl Strategy<Value = Operation> {
    (any::<u8>(), 0..200_u16, 0..most, any::<bool>())
        .prop_map(|(dir, first, count, long)| Operation::Fill { dir, first, count, long })
}

fn thin() -> impl Strategy<Value = Operation> {
    (any::<u8>(), 0..200_u16, 0..400_u16, 2..60_u16, any::<bool>())
        .prop_map(|(dir, first, count, keep, long)| Operation::Thin { dir, first, count, keep, long })
}

/// Around 8 and 338 records the tree gets another level or another node.
fn stripe(most: u16) -> impl Strategy<Value = Operation> {
    let first = prop_oneof![0..20_u32, 0..2000_u32];
    let count = prop_oneof![5..10_u16, 330..345_u16, 0..most];
    (any::<u8>(), first, count, any::<bool>()).prop_map(|(ino, first, count, down)| Operation::Stripe {
        ino,
        first,
        count,
        down,
    })
}

fn devour() -> impl Strategy<Value = Operation> {
    (any::<u8>(), 0..6_u8).prop_map(|(ino, leave)| Operation::Devour { ino, leave })
}

fn write() -> impl Strategy<Value = Operation> {
    (any::<u8>(), offset(), len(), any::<u8>()).prop_map(|(ino, offset, len, seed)| Operation::Write {
        ino,
        offset,
        len,
        seed,
    })
}

fn resize() -> impl Strategy<Value = Operation> {
    (any::<u8>(), offset()).prop_map(|(ino, size)| Operation::Resize { ino, size })
}

fn xattr() -> impl Strategy<Value = XattrName> {
    prop_oneof![
        12 => any::<u8>().prop_map(XattrName::Usual),
        1 => any::<u8>().prop_map(XattrName::Odd),
    ]
}

fn set_xattr() -> impl Strategy<Value = Operation> {
    // What the inode has room for, what a block has, and more.
    let len =
        prop_oneof![6 => 0..70_u32, 3 => 0..1_500_u32, 2 => 3_900..4_100_u32, 1 => 65_530..65_540_u32];
    let flags = prop_oneof![4 => Just(0_u8), 1 => 1..4_u8];
    (any::<u8>(), xattr(), len, any::<u8>(), flags)
        .prop_map(|(ino, name, len, seed, flags)| Operation::SetXattr { ino, name, len, seed, flags })
}

/// Attributes of few inodes, and hardly any space left.
pub fn on_xattrs() -> impl Strategy<Value = Operation> {
    use Operation::*;
    prop_oneof![
        2 => (any::<u8>(), name(), any::<u8>()).prop_map(|(dir, name, kind)| Create { dir, name, kind }),
        1 => (any::<u8>(), name(), 90..110_u16).prop_map(|(dir, name, len)| Symlink { dir, name, len }),
        12 => set_xattr(),
        4 => (any::<u8>(), xattr()).prop_map(|(ino, name)| RemoveXattr { ino, name }),
        1 => (any::<u8>(), xattr()).prop_map(|(ino, name)| GetXattr { ino, name }),
        1 => (any::<u8>(), name()).prop_map(|(dir, name)| Unlink { dir, name }),
        1 => devour(),
        1 => Just(Remount),
    ]
}

/// Mostly whole blocks, as some modes want them.
fn allocate() -> impl Strategy<Value = Operation> {
    let blocks = |most: u64| (0..most).prop_map(|block| block * 4096);
    let offset = prop_oneof![3 => blocks(40), 1 => blocks(1_000), 2 => offset()];
    let len = prop_oneof![
        4 => blocks(30),
        1 => blocks(1_000),
        3 => len().prop_map(u64::from),
        1 => any::<u64>().prop_map(|len| len >> (len % 64)),
    ];
    (any::<u8>(), any::<u8>(), offset, len).prop_map(|(ino, mode, offset, len)| Operation::Allocate {
        ino,
        mode,
        offset,
        len,
    })
}

fn seek() -> impl Strategy<Value = Operation> {
    (any::<u8>(), offset()).prop_map(|(ino, offset)| Operation::Seek { ino, offset })
}

fn copy() -> impl Strategy<Value = Operation> {
    let side = || (any::<u8>(), offset());
    (side(), side(), len()).prop_map(|(from, to, len)| Operation::Copy { from, to, len: u64::from(len) })
}

/// Directories that grow and shrink by hundreds of names.
pub fn on_directories() -> impl Strategy<Value = Operation> {
    use Operation::*;
    prop_oneof![
        1 => (any::<u8>(), name()).prop_map(|(dir, name)| Create { dir, name, kind: 3 }),
        4 => fill(400),
        4 => thin(),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(dir, stop_after)| List { dir, stop_after }),
        1 => devour(),
    ]
}

/// Few files with many extents, and hardly any space left.
pub fn on_extents() -> impl Strategy<Value = Operation> {
    use Operation::*;
    prop_oneof![
        1 => (any::<u8>(), name()).prop_map(|(dir, name)| Create { dir, name, kind: 0 }),
        4 => stripe(400),
        4 => write(),
        2 => resize(),
        6 => allocate(),
        2 => seek(),
        2 => copy(),
        2 => devour(),
        1 => (any::<u8>(), name()).prop_map(|(dir, name)| Unlink { dir, name }),
    ]
}

pub fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let p = any::<u8>;
    prop_oneof![
        10 => (p(), name(), p()).prop_map(|(dir, name, kind)| Create { dir, name, kind }),
        3 => (p(), name(), prop_oneof![0..300_u16, 90..110_u16, 4000..4100_u16])
            .prop_map(|(dir, name, len)| Symlink { dir, name, len }),
        4 => (p(), p(), name()).prop_map(|(ino, dir, name)| Link { ino, dir, name }),
        6 => (p(), name()).prop_map(|(dir, name)| Unlink { dir, name }),
        4 => (p(), name()).prop_map(|(dir, name)| Rmdir { dir, name }),
        8 => (p(), name(), p(), name(), p())
            .prop_map(|(d, n, e, m, flags)| Rename { from: (d, n), to: (e, m), flags }),
        12 => write(),
        4 => (p(), len(), p()).prop_map(|(ino, len, seed)| Append { ino, len, seed }),
        5 => (p(), offset(), len()).prop_map(|(ino, offset, len)| Read { ino, offset, len }),
        6 => resize(),
        8 => allocate(),
        2 => seek(),
        4 => copy(),
        2 => (p(), p(), any::<u32>())
            .prop_map(|(ino, which, value)| SetAttr { ino, which, value }),
        4 => (p(), name()).prop_map(|(dir, name)| Lookup { dir, name }),
        2 => (p(), p()).prop_map(|(dir, stop_after)| List { dir, stop_after }),
        1 => p().prop_map(|ino| Readlink { ino }),
        2 => p().prop_map(|dir| CreateUnnamed { dir }),
        4 => p().prop_map(|ino| Hold { ino }),
        4 => p().prop_map(|ino| Forget { ino }),
        3 => set_xattr(),
        1 => (p(), xattr()).prop_map(|(ino, name)| RemoveXattr { ino, name }),
        1 => (p(), xattr()).prop_map(|(ino, name)| GetXattr { ino, name }),
        2 => fill(120),
        2 => thin(),
        2 => stripe(60),
        1 => devour(),
        1 => Just(Remount),
    ]
}
