//! A peer's bytes, decoded into types that could become anything.

use std::collections::{BTreeMap, HashMap};

use chargehand::{DecodeLimits, Failure};
use serde::de::DeserializeOwned;
use serde::ser::SerializeTuple;
use serde::{Deserialize, Serialize, Serializer};

use crate::chunks::Choices;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Node {
    value: u64,
    next: Option<Box<Node>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    List(Vec<Tree>),
    Map(BTreeMap<u8, Tree>),
    Pair { left: Box<Tree>, right: Box<Tree> },
    Text(String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Sparse(Option<[u64; 32]>);

type Nothings = Vec<()>;
type Mixed = (i64, Option<String>, [u8; 3], char, f32, bool, (u16, i8), Vec<(u32, String)>);

/// Bytes become a value within the limits, or an error that says why not; and a value that is written again
/// is the same.
pub fn decode(data: &[u8]) {
    let mut choices = Choices(data);
    let kind = choices.byte();
    let limits = DecodeLimits::new()
        .depth_max(u32::from(choices.byte()))
        .growth_bytes(usize::from(choices.byte()) << 6)
        .growth_times(usize::from(choices.byte()));
    let body = choices.0;
    match kind % 10 {
        0 => same::<Node>(body, &limits),
        1 => same::<Tree>(body, &limits),
        2 => same::<Vec<Sparse>>(body, &limits),
        3 => same::<Nothings>(body, &limits),
        4 => same::<HashMap<u16, Box<Sparse>>>(body, &limits),
        5 => same::<Mixed>(body, &limits),
        6 => same::<Vec<u8>>(body, &limits),
        7 => same::<String>(body, &limits),
        8 => same::<Vec<Vec<Vec<Nothings>>>>(body, &limits),
        _ => same::<u64>(body, &limits),
    }
}

/// Bytes as they are, where a value is expected.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

fn same<T>(body: &[u8], limits: &DecodeLimits)
where
    T: DeserializeOwned + Serialize + 'static,
{
    let failure = Failure::new("").with_details(&Raw(body));
    // Longer than a failure's details may be.
    let Some(result) = failure.details_within::<T>(limits) else { return };
    match result {
        Ok(value) => {
            // Compared as bytes: some numbers are not equal to themselves.
            let again = postcard::to_allocvec(&value).expect("it can be written");
            assert!(again.len() <= body.len(), "a value was made up");
            let twice: T = postcard::from_bytes(&again).expect("what is written can be read");
            let twice = postcard::to_allocvec(&twice).expect("it can be written");
            assert!(twice == again || kept_in_no_order::<T>(), "it reads otherwise than written");
        }
        Err(why) => assert!(!why.is_empty(), "an error without words"),
    }
}

/// Hash maps are written in any order.
fn kept_in_no_order<T>() -> bool {
    std::any::type_name::<T>().contains("HashMap")
}
