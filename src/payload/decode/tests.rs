#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "any numbers will do"
)]
#![expect(
    clippy::zero_sized_map_values,
    clippy::large_enum_variant,
    clippy::large_stack_arrays,
    reason = "they are what is tested"
)]

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt::Debug;
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::thread;

use serde::{Deserialize, Serialize};

use super::limits::{HINT_MAX, LEVEL_BYTES};
use super::*;

const LIMITS: DecodeLimits = DecodeLimits::new();

/// What an answer may be at most, unless a pool says otherwise.
const FRAME_BYTES_MAX: usize = 16 << 20;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Node {
    value: u64,
    next: Option<Box<Node>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FatNode {
    values: [[u64; 32]; 16],
    next: Option<Box<FatNode>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    List(Vec<Tree>),
    Pair(Box<Tree>, Box<Tree>),
    Named { value: Box<Tree> },
    Map(BTreeMap<u8, Tree>),
    Maybe(Option<Box<Tree>>),
    Wide([u64; 32]),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Empty;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Skips {
    #[serde(skip)]
    all: [u64; 32],
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped(Option<[u64; 32]>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    flags: (bool, char, i8, u8),
    numbers: (i16, u16, i32, u32, i64, u64, i128, u128),
    floats: (f32, f64),
    text: String,
    unit: (),
    empty: Empty,
    array: [u16; 5],
    lists: Vec<Vec<u64>>,
    map: BTreeMap<String, Option<i64>>,
    set: BTreeSet<u8>,
    tree: Tree,
    node: Option<Box<Node>>,
}

/// Decodes on a stack as small as that of a thread for tasks may be: one in a debug build, too.
fn on_a_small_stack<T: DeserializeOwned + Send + 'static>(bytes: Vec<u8>) -> Result<T, String> {
    let thread = thread::Builder::new().stack_size(512 * 1024);
    let decoding = thread.spawn(move || decode::<T>(&bytes, &LIMITS)).expect("a thread");
    decoding.join().expect("no panic")
}

fn too_deep<T: DeserializeOwned + Send + 'static>(bytes: Vec<u8>) {
    let text = on_a_small_stack::<T>(bytes).err().expect("it is too deep");
    assert!(text.contains("nests deeper than 128 levels"), "{text}");
}

#[track_caller]
fn too_large<T: DeserializeOwned + 'static>(bytes: &[u8]) {
    let text = decode::<T>(bytes, &LIMITS).err().expect("it is too large");
    assert!(text.contains("in memory") && text.contains("take the raw bytes"), "{text}");
}

fn encoded(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("plain data")
}

/// A varint of 64 bits.
fn forged(len: u64) -> Vec<u8> {
    encoded(&len)
}

#[test]
fn a_type_that_holds_itself_is_refused_before_the_stack_ends() {
    too_deep::<Node>([0, 1].repeat(100_000));
    too_deep::<Tree>([1, 1].repeat(100_000));
    too_deep::<Tree>([2].repeat(200_000));
    too_deep::<Tree>([3].repeat(200_000));
    too_deep::<Tree>([4, 1, 7].repeat(70_000));
    too_deep::<Tree>([5, 1].repeat(100_000));
}

#[test]
fn deeper_limits_hold_on_stacks_with_four_kib_a_level() {
    fn too_deep<T: DeserializeOwned + Send + 'static>(bytes: Vec<u8>) {
        let thread = thread::Builder::new().stack_size(1000 * 4096);
        let decoding = thread.spawn(move || decode::<T>(&bytes, &LIMITS.depth_max(1000)).err());
        let text = decoding.expect("a thread").join().expect("no panic").expect("it is too deep");
        assert!(text.contains("nests deeper than 1000 levels"), "{text}");
    }
    too_deep::<Node>([0, 1].repeat(100_000));
    too_deep::<Tree>([1, 1].repeat(100_000));
    too_deep::<Tree>([2].repeat(200_000));
    too_deep::<Tree>([3].repeat(200_000));
    too_deep::<Tree>([4, 1, 7].repeat(70_000));
    too_deep::<Tree>([5, 1].repeat(100_000));
    too_deep::<FatNode>([&[0; 512][..], &[1]].concat().repeat(4000));
}

#[test]
fn a_large_type_that_holds_itself_is_refused_earlier() {
    let mut fat = vec![0; 512];
    fat.push(1);
    too_deep::<FatNode>(fat.repeat(400));
    let nodes = |count: usize| {
        let mut bytes = fat.repeat(count);
        bytes.extend([0; 513]);
        bytes
    };
    assert!(on_a_small_stack::<FatNode>(nodes(4)).is_ok());
    too_deep::<FatNode>(nodes(9));
}

#[test]
fn what_nests_as_deep_as_may_be_is_taken() {
    let list = |nodes: usize| {
        let mut bytes = [0, 1].repeat(nodes - 1);
        bytes.extend([0, 0]);
        bytes
    };
    // Each node has a pointer of 8 bytes to a value of 16 bytes, which counts twice.
    let nodes_max = LIMITS.nested_bytes_max() / (LEVEL_BYTES + 2 * size_of::<Node>());
    let (mut node, mut length) = (on_a_small_stack::<Node>(list(nodes_max)).unwrap(), 1);
    while let Some(next) = node.next {
        (node, length) = (*next, length + 1);
    }
    assert_eq!(length, nodes_max);
    too_deep::<Node>(list(nodes_max + 2));
    assert!(nodes_max > 100);
}

#[test]
fn limits_that_are_set_are_those_that_hold() {
    let list = |nodes: usize| {
        let mut bytes = [0, 1].repeat(nodes - 1);
        bytes.extend([0, 0]);
        bytes
    };
    let node = |nodes, levels| decode::<Node>(&list(nodes), &LIMITS.depth_max(levels)).err();
    assert_eq!(node(300, 400), None);
    let why = node(300, 200).expect("it is too deep");
    assert!(why.contains("deeper than 200 levels") && why.contains("raise depth_max"), "{why}");
    assert_eq!(node(1, 1), None);
    assert!(node(2, 1).is_some());
    assert_eq!(decode::<u64>(&[7], &LIMITS.depth_max(0)), Ok(7));
    assert!(decode::<Option<u64>>(&[0], &LIMITS.depth_max(0)).is_err());

    let nones = encoded(&vec![None::<[u64; 32]>; 10_000]);
    let sparse = |limits: DecodeLimits| decode::<Vec<Option<[u64; 32]>>>(&nones, &limits).err();
    let why = sparse(LIMITS.growth_times(100)).expect("it is too large");
    assert!(why.contains("100 for each of them") && why.contains("raise growth_times"), "{why}");
    assert_eq!(sparse(LIMITS.growth_times(264)), None);
    assert_eq!(sparse(LIMITS.growth_times(0).growth_bytes(10_000 * 264)), None);
    assert!(sparse(LIMITS.growth_times(0).growth_bytes(10_000 * 260)).is_some());
    assert_eq!(sparse(LIMITS.growth_times(usize::MAX)), None);
}

/// Panics where a value is not the same again, without showing it: it is long.
#[track_caller]
fn is_taken<T: Serialize + DeserializeOwned + PartialEq + 'static>(value: &T) {
    match decode::<T>(&encoded(value), &LIMITS) {
        Ok(decoded) => assert!(decoded == *value),
        Err(text) => panic!("{text}"),
    }
}

#[test]
fn siblings_do_not_nest() {
    #[derive(PartialEq, Serialize, Deserialize)]
    enum Lean {
        Leaf,
        List(Vec<Lean>),
    }
    let leaves = |count| Lean::List((0..count).map(|_| Lean::Leaf).collect());
    is_taken(&Lean::List((0..10_000).map(|_| leaves(3)).collect()));
    is_taken(&vec![Some(Box::new(3_u64)); 10_000]);
    is_taken(&(0..5000_u64).map(|key| (key, leaves(1))).collect::<BTreeMap<_, _>>());
}

#[test]
fn one_large_value_is_taken_wherever_it_lies() {
    type Large = [[[u64; 32]; 32]; 16];
    let large: Box<Large> = Box::new([[[1; 32]; 32]; 16]);
    assert!(size_of::<Large>() > LIMITS.nested_bytes_max());
    let large = thread::Builder::new().stack_size(16 << 20).spawn(move || {
        is_taken(&large);
        is_taken(&vec![*large]);
    });
    large.unwrap().join().unwrap();
}

#[test]
fn elements_that_take_no_byte_are_not_counted_for_ever() {
    for len in [u64::MAX, 1 << 40, 1 << 20] {
        let bytes = forged(len);
        too_large::<Vec<()>>(&bytes);
        too_large::<Vec<Empty>>(&bytes);
        too_large::<Vec<[u8; 0]>>(&bytes);
        too_large::<Vec<((), Empty)>>(&bytes);
        too_large::<HashMap<(), ()>>(&bytes);
        too_large::<BTreeMap<(), Skips>>(&bytes);
        too_large::<HashSet<()>>(&bytes);
        too_large::<Vec<Vec<()>>>(&[&[1][..], &bytes].concat());
        too_large::<(u8, Vec<()>)>(&[&[1][..], &bytes].concat());
    }
    // Each list for itself is short enough.
    let lists: Vec<u8> = [forged(400), forged(100_000).repeat(400)].concat();
    too_large::<Vec<Vec<()>>>(&lists);
    assert_eq!(decode::<Vec<()>>(&forged(5000), &LIMITS), Ok(vec![(); 5000]));
}

#[test]
fn elements_that_are_larger_than_their_bytes_are_bounded() {
    let mut bytes = forged(FRAME_BYTES_MAX as u64 - 4);
    bytes.resize(FRAME_BYTES_MAX, 0);
    too_large::<Vec<Option<[u64; 32]>>>(&bytes);
    too_large::<Vec<Wrapped>>(&bytes);
    too_large::<Vec<Tree>>(&bytes);
    too_large::<Vec<(Option<[u64; 32]>,)>>(&bytes);
    // Behind a pointer it takes its memory all the same.
    too_large::<Vec<Box<Option<[u64; 32]>>>>(&bytes);
    too_large::<Vec<Box<Wrapped>>>(&bytes);
    let boxes: Vec<u8> = [forged(100_000), [1, 0].repeat(100_000)].concat();
    too_large::<Vec<Option<Box<Wrapped>>>>(&boxes);
    // Without a byte, but with a size.
    too_large::<Vec<Skips>>(&forged(10_000));
    let singles: Vec<u8> = [forged(100_000), [1, 0, 0].repeat(100_000)].concat();
    too_large::<Vec<BTreeMap<u8, Option<[u64; 32]>>>>(&singles);
    let keys: HashMap<u32, Option<[u64; 32]>> = (0..100_000).map(|key| (key, None)).collect();
    too_large::<HashMap<u32, Option<[u64; 32]>>>(&encoded(&keys));
}

#[test]
fn honest_values_are_taken() {
    is_taken(&vec![String::new(); 50_000]); // 24 bytes for one
    is_taken(&vec![None::<u64>; 50_000]); // 16
    is_taken(&vec![0_u128; 50_000]);
    is_taken(&(0..20_000).map(|key| (key, ())).collect::<HashMap<u128, ()>>());
    is_taken(&vec![BTreeMap::from([(1_u64, 2_u64)]); 20_000]);
    is_taken(&vec![None::<[u64; 32]>; 900]); // 264 bytes for one, but there are few of them.
    is_taken(&vec![7_u8; 1 << 19]);
}

#[test]
fn a_forged_length_is_an_error() {
    for len in [3, 1 << 20, u64::MAX / 2, u64::MAX] {
        let bytes = [forged(len), vec![b'x'; 2]].concat();
        assert!(decode::<String>(&bytes, &LIMITS).is_err());
        assert!(decode::<Vec<u8>>(&bytes, &LIMITS).is_err());
        assert!(decode::<Vec<u64>>(&bytes, &LIMITS).is_err());
        assert!(decode::<Vec<String>>(&bytes, &LIMITS).is_err());
        assert!(decode::<BTreeMap<u128, u8>>(&bytes, &LIMITS).is_err());
        assert!(decode::<Box<[u64]>>(&bytes, &LIMITS).is_err());
    }
}

#[test]
fn a_collection_is_not_told_to_make_room_for_more_than_it_may_get() {
    struct Hint(usize);
    impl<'de> Deserialize<'de> for Hint {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Hint;
                fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                    f.write_str("a map")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Hint, A::Error> {
                    Ok(Hint(map.size_hint().unwrap_or(0)))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
    assert_eq!(decode::<Hint>(&forged(7), &LIMITS).map(|hint| hint.0), Ok(7));
    assert_eq!(decode::<Hint>(&forged(200_000), &LIMITS).map(|hint| hint.0), Ok(HINT_MAX));
    assert!(decode::<Hint>(&forged(u64::MAX), &LIMITS).is_err());
}

#[test]
fn what_is_left_over_is_an_error() {
    assert_eq!(decode::<u8>(&[7, 1, 2], &LIMITS), Err("2 of its 3 bytes are left over".to_owned()));
    assert_eq!(decode::<()>(&[0], &LIMITS), Err("1 of its 1 bytes are left over".to_owned()));
    assert_eq!(
        decode::<Option<u8>>(&[0, 0], &LIMITS),
        Err("1 of its 2 bytes are left over".to_owned())
    );
}

/// Xorshift.
struct Dice(u64);

impl Dice {
    fn draw(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = self.draw() % 8;
        // Small numbers more often: they are lengths, variants and options.
        (0..len).map(|_| self.draw().to_le_bytes()[0] >> (self.draw() % 9).min(7)).collect()
    }

    fn tree(&mut self, depth: usize) -> Tree {
        let few = usize::try_from(self.draw() % 3).unwrap();
        match self.draw() % if depth == 0 { 2 } else { 7 } {
            0 => Tree::Leaf,
            1 => Tree::Wide([self.draw(); 32]),
            2 => Tree::List((0..few).map(|_| self.tree(depth - 1)).collect()),
            3 => Tree::Pair(Box::new(self.tree(depth - 1)), Box::new(self.tree(depth - 1))),
            4 => Tree::Named { value: Box::new(self.tree(depth - 1)) },
            5 => Tree::Map((0..few).map(|key| (key as u8, self.tree(depth - 1))).collect()),
            _ => Tree::Maybe((few > 0).then(|| Box::new(self.tree(depth - 1)))),
        }
    }

    fn everything(&mut self) -> Everything {
        let draw = self.draw();
        Everything {
            flags: (draw & 1 == 0, char::from_u32(draw as u32 % 0xd800).unwrap(), draw as i8, 7),
            numbers: (
                draw as i16,
                draw as u16,
                draw as i32,
                draw as u32,
                draw as i64,
                draw,
                i128::from(draw as i64) << (draw % 64),
                u128::from(draw) << (draw % 64),
            ),
            floats: (draw as f32, draw as f64),
            text: format!("{draw} ü"),
            unit: (),
            empty: Empty,
            array: [draw as u16; 5],
            lists: (0..draw % 5).map(|len| (0..len).collect()).collect(),
            map: (0..draw % 4).map(|key| (format!("{key}"), Some(key as i64 - 1))).collect(),
            set: (0..draw as u8 % 9).collect(),
            tree: self.tree(3),
            node: Some(Box::new(Node { value: draw, next: None })),
        }
    }
}

/// Decodes as postcard does it.
fn plainly<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Option<T> {
    postcard::take_from_bytes(bytes).ok().and_then(|(value, rest)| rest.is_empty().then_some(value))
}

fn same<T: DeserializeOwned + PartialEq + Debug + 'static>(bytes: &[u8]) -> bool {
    let decoded = decode::<T>(bytes, &LIMITS).ok();
    assert_eq!(decoded, plainly::<T>(bytes), "of {bytes:?}");
    decoded.is_some()
}

#[test]
fn what_is_decoded_is_what_postcard_makes_of_it() {
    let seed = 0x5eed;
    let mut dice = Dice(seed);
    let mut taken = 0;
    for _ in 0..20_000 {
        let bytes = dice.bytes();
        taken += u32::from(same::<Tree>(&bytes));
        taken += u32::from(same::<Option<(i64, u16)>>(&bytes));
        taken += u32::from(same::<Vec<u8>>(&bytes));
        taken += u32::from(same::<Vec<(u64, Option<bool>)>>(&bytes));
        taken += u32::from(same::<BTreeMap<i32, String>>(&bytes));
        taken += u32::from(same::<(u128, i8, char)>(&bytes));
        taken += u32::from(same::<Node>(&bytes));
        same::<Everything>(&bytes);
    }
    assert!(taken > 2000, "with the seed {seed:#x} only {taken} were values at all");
    for _ in 0..500 {
        let value = dice.everything();
        let bytes = encoded(&value);
        assert_eq!(decode(&bytes, &LIMITS), Ok(value), "with the seed {seed:#x}");
        same::<Everything>(&bytes[..bytes.len() - 1]);
    }
}

#[test]
fn long_text_and_bytes_come_out_as_they_went_in() {
    let text = "\u{1f9f1}-".repeat(2000);
    let body = postcard::to_stdvec(&(&text, CString::new(text.clone()).expect("no zeros")))
        .expect("plain data");
    let owned = decode::<(String, CString)>(&body, &DecodeLimits::new());
    assert_eq!(owned, Ok((text.clone(), CString::new(text).expect("no zeros"))));
}
