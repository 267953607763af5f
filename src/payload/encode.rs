//! Encodes values by postcard, and lists of bytes as a whole.
//!
//! Serde encodes a `Vec<u8>` like any list, one element at a time: for 64 KiB that takes 20 times as long
//! as copying them. But a serializer is first given the list as one iterator (`collect_seq`), and learns
//! from an element whether it is a byte. So lists of bytes need neither a type of their own nor a
//! `'static` one to compare by `TypeId`.

use alloc::vec::Vec;
use core::fmt::{self, Display};

use chargehand_core::copy;
use postcard::ser_flavors::Flavor;
use postcard::{Error, Result, Serializer as Postcard};
use serde::Serialize;
use serde::ser::{self, Impossible, Serializer};

use super::height::{HEIGHT_BYTES_MAX, RangeHeight, encode_height};

/// The shortest list that is worth a look at its elements.
const LIST_MIN: usize = 32;

/// Where a value is encoded to.
pub(crate) trait Sink: Flavor {
    /// Returns the bytes so far, to append many at once.
    fn bytes(&mut self) -> &mut Vec<u8>;
}

/// Encodes a value, and returns what the sink makes of it.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized, S: Sink>(value: &T, sink: S) -> Result<S::Output> {
    let mut postcard = Postcard { output: sink };
    value.serialize(Whole(&mut postcard))?;
    postcard.output.finalize()
}

/// Appends the encoding to a vector. Postcard's own flavor for that appends byte by byte.
pub(crate) struct Onto<'a>(pub(crate) &'a mut Vec<u8>);

impl Flavor for Onto<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> Result<()> {
        copy::append(self.0, bytes);
        Ok(())
    }

    fn finalize(self) -> Result<()> {
        Ok(())
    }
}

impl Sink for Onto<'_> {
    #[inline]
    fn bytes(&mut self) -> &mut Vec<u8> {
        self.0
    }
}

/// Encodes a value that is not part of another one.
struct Whole<'a, S: Flavor>(&'a mut Postcard<S>);

macro_rules! by_postcard {
    ($($method:ident($($value:ident: $type:ty),*) -> $output:ident;)*) => {
        $(#[inline]
        fn $method(self, $($value: $type),*) -> Result<Self::$output> {
            self.0.$method($($value),*)
        })*
    };
}

impl<'a, S: Sink> Serializer for Whole<'a, S> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = &'a mut Postcard<S>;
    type SerializeTuple = &'a mut Postcard<S>;
    type SerializeTupleStruct = &'a mut Postcard<S>;
    type SerializeTupleVariant = &'a mut Postcard<S>;
    type SerializeMap = &'a mut Postcard<S>;
    type SerializeStruct = &'a mut Postcard<S>;
    type SerializeStructVariant = &'a mut Postcard<S>;

    by_postcard! {
        serialize_bool(value: bool) -> Ok;
        serialize_i8(value: i8) -> Ok;
        serialize_i16(value: i16) -> Ok;
        serialize_i32(value: i32) -> Ok;
        serialize_i64(value: i64) -> Ok;
        serialize_i128(value: i128) -> Ok;
        serialize_u8(value: u8) -> Ok;
        serialize_u16(value: u16) -> Ok;
        serialize_u32(value: u32) -> Ok;
        serialize_u128(value: u128) -> Ok;
        serialize_f32(value: f32) -> Ok;
        serialize_f64(value: f64) -> Ok;
        serialize_char(value: char) -> Ok;
        serialize_str(value: &str) -> Ok;
        serialize_bytes(value: &[u8]) -> Ok;
        serialize_none() -> Ok;
        serialize_unit() -> Ok;
        serialize_unit_struct(name: &'static str) -> Ok;
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str) -> Ok;
        serialize_seq(len: Option<usize>) -> SerializeSeq;
        serialize_tuple(len: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeTupleVariant;
        serialize_map(len: Option<usize>) -> SerializeMap;
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeStructVariant;
    }

    /// As heights are, in one go.
    #[inline]
    fn serialize_u64(self, value: u64) -> Result<()> {
        let mut buffer = [0; HEIGHT_BYTES_MAX];
        self.0.output.try_extend(encode_height(RangeHeight::Unsigned(value), &mut buffer))
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        self.0.serialize_some(value)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<()> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        self.0.serialize_newtype_variant(name, index, variant, value)
    }

    #[inline]
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<()> {
        self.0.collect_str(value)
    }

    #[inline]
    fn collect_seq<I>(self, list: I) -> Result<()>
    where
        I: IntoIterator<Item: Serialize>,
    {
        let mut list = list.into_iter();
        let (len, max) = list.size_hint();
        if len < LIST_MIN || max != Some(len) {
            return self.0.collect_seq(list);
        }
        self.0.serialize_seq(Some(len))?;
        let Some(first) = list.next() else { return Ok(()) };
        if let Ok(byte) = first.serialize(AsByte) {
            let bytes = self.0.output.bytes();
            bytes.push(byte);
            return extend(bytes, list);
        }
        first.serialize(&mut *self.0)?;
        list.try_for_each(|element| element.serialize(&mut *self.0))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Appends the elements of a list of bytes. What is no byte after all is encoded by itself.
#[inline]
fn extend<T: Serialize>(bytes: &mut Vec<u8>, list: impl Iterator<Item = T>) -> Result<()> {
    let begin = bytes.len();
    let (mut count, mut result) = (0, Ok(()));
    let mut others: Vec<(usize, Vec<u8>)> = Vec::new();
    // A vector's `extend` knows how many come, and with nothing to remember of a byte this is a copy
    // once it is compiled.
    bytes.extend(list.map(|element| {
        let at = count;
        count += 1;
        element.serialize(AsByte).unwrap_or_else(|NoByte| {
            let mut other = Vec::new();
            if result.is_ok() {
                result = element.serialize(&mut Postcard { output: Onto(&mut other) });
            }
            others.push((at, other));
            0
        })
    }));
    if !others.is_empty() {
        put_in(bytes, begin, &others);
    }
    result
}

/// Replaces single bytes behind `begin` by others.
fn put_in(bytes: &mut Vec<u8>, begin: usize, others: &[(usize, Vec<u8>)]) {
    let list = bytes.split_off(begin);
    let mut done = 0;
    for (at, other) in others {
        bytes.extend_from_slice(&list[done..*at]);
        bytes.extend_from_slice(other);
        done = at + 1;
    }
    bytes.extend_from_slice(&list[done..]);
}

/// Takes a byte, and nothing else.
struct AsByte;

/// It is no byte.
#[derive(Debug)]
struct NoByte;

impl Display for NoByte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a byte")
    }
}

impl core::error::Error for NoByte {}

impl ser::Error for NoByte {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

macro_rules! no_byte {
    ($($method:ident($($type:ty),*) -> $output:ident;)*) => {
        $(#[inline]
        fn $method(self, $(_: $type),*) -> core::result::Result<Self::$output, NoByte> {
            Err(NoByte)
        })*
    };
}

type Name = &'static str;

impl Serializer for AsByte {
    type Ok = u8;
    type Error = NoByte;
    type SerializeSeq = Impossible<u8, NoByte>;
    type SerializeTuple = Impossible<u8, NoByte>;
    type SerializeTupleStruct = Impossible<u8, NoByte>;
    type SerializeTupleVariant = Impossible<u8, NoByte>;
    type SerializeMap = Impossible<u8, NoByte>;
    type SerializeStruct = Impossible<u8, NoByte>;
    type SerializeStructVariant = Impossible<u8, NoByte>;

    no_byte! {
        serialize_bool(bool) -> Ok;
        serialize_i8(i8) -> Ok;
        serialize_i16(i16) -> Ok;
        serialize_i32(i32) -> Ok;
        serialize_i64(i64) -> Ok;
        serialize_i128(i128) -> Ok;
        serialize_u16(u16) -> Ok;
        serialize_u32(u32) -> Ok;
        serialize_u64(u64) -> Ok;
        serialize_u128(u128) -> Ok;
        serialize_f32(f32) -> Ok;
        serialize_f64(f64) -> Ok;
        serialize_char(char) -> Ok;
        serialize_str(&str) -> Ok;
        serialize_bytes(&[u8]) -> Ok;
        serialize_none() -> Ok;
        serialize_unit() -> Ok;
        serialize_unit_struct(Name) -> Ok;
        serialize_unit_variant(Name, u32, Name) -> Ok;
        serialize_seq(Option<usize>) -> SerializeSeq;
        serialize_tuple(usize) -> SerializeTuple;
        serialize_tuple_struct(Name, usize) -> SerializeTupleStruct;
        serialize_tuple_variant(Name, u32, Name, usize) -> SerializeTupleVariant;
        serialize_map(Option<usize>) -> SerializeMap;
        serialize_struct(Name, usize) -> SerializeStruct;
        serialize_struct_variant(Name, u32, Name, usize) -> SerializeStructVariant;
    }

    #[inline]
    fn serialize_u8(self, value: u8) -> core::result::Result<u8, NoByte> {
        Ok(value)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> core::result::Result<u8, NoByte> {
        Err(NoByte)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: Name,
        value: &T,
    ) -> core::result::Result<u8, NoByte> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: Name,
        _: u32,
        _: Name,
        _: &T,
    ) -> core::result::Result<u8, NoByte> {
        Err(NoByte)
    }

    #[inline]
    fn collect_seq<I: IntoIterator<Item: Serialize>>(
        self,
        _: I,
    ) -> core::result::Result<u8, NoByte> {
        Err(NoByte)
    }

    #[inline]
    fn collect_str<T: Display + ?Sized>(self, _: &T) -> core::result::Result<u8, NoByte> {
        Err(NoByte)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::VecDeque;
    use alloc::string::String;
    use alloc::string::ToString;

    use super::*;
    use crate::payload::Body;

    fn alike<T: Serialize + ?Sized>(value: &T) {
        let expected = postcard::to_stdvec(value).expect("plain data");
        assert!(Body::encode(value).expect("plain data").as_slice() == expected);
        let mut bytes = b"before".to_vec();
        encode(value, Onto(&mut bytes)).expect("plain data");
        assert!(bytes == [b"before", expected.as_slice()].concat());
    }

    /// As `serde_bytes` does it.
    struct AsBytes(Vec<u8>);

    impl Serialize for AsBytes {
        fn serialize<S: Serializer>(&self, serializer: S) -> core::result::Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }

    #[test]
    fn lists_of_bytes_are_encoded_as_postcard_does_it() {
        #[derive(Serialize)]
        struct Hash(Vec<u8>);
        #[derive(Serialize)]
        struct Byte(u8);
        for len in [0, 1, LIST_MIN - 1, LIST_MIN, 127, 128, 255, 5_000, 70_000_usize] {
            let bytes: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0]).collect();
            alike(bytes.as_slice());
            alike(&bytes.as_slice());
            alike(&bytes.clone().into_boxed_slice());
            alike(&bytes.iter().copied().collect::<VecDeque<u8>>());
            alike(&bytes.iter().copied().map(Byte).collect::<Vec<_>>());
            alike(&(7_u64, bytes.clone(), Some(bytes.clone())));
            alike(&Some(bytes.clone()));
            alike(&String::from_utf8_lossy(&bytes));
            alike(&AsBytes(bytes.clone()));
            alike(&Hash(bytes));
        }
    }

    /// Counts how often something is written.
    #[derive(Default)]
    struct Counting {
        bytes: Vec<u8>,
        writes: usize,
    }

    impl Flavor for Counting {
        type Output = usize;

        fn try_push(&mut self, byte: u8) -> Result<()> {
            self.writes += 1;
            self.bytes.push(byte);
            Ok(())
        }

        fn finalize(self) -> Result<usize> {
            Ok(self.writes)
        }
    }

    impl Sink for Counting {
        fn bytes(&mut self) -> &mut Vec<u8> {
            &mut self.bytes
        }
    }

    #[test]
    fn numbers_are_encoded_as_postcard_does_it() {
        for power in 0..64 {
            for number in [(1_u64 << power) - 1, 1 << power, u64::MAX >> power] {
                alike(&number);
                alike(&Some(number));
                alike(&(number,));
            }
        }
    }

    #[test]
    fn a_list_of_bytes_is_not_written_an_element_at_a_time() {
        let bytes = vec![7_u8; 64 << 10];
        // Its length takes three.
        for writes in [
            encode(&bytes, Counting::default()),
            encode(bytes.as_slice(), Counting::default()),
            encode(&bytes.as_slice(), Counting::default()),
            encode(&bytes.clone().into_boxed_slice(), Counting::default()),
        ] {
            assert_eq!(writes, Ok(3));
        }
    }

    #[test]
    fn lists_of_what_is_no_byte_are_encoded_as_postcard_does_it() {
        for len in [0, 1, 31, 32, 300, 5_000_u16] {
            let numbers = || 0..len;
            alike(&numbers().collect::<Vec<u16>>());
            alike(&numbers().map(|at| at % 3 == 0).collect::<Vec<bool>>());
            alike(&numbers().map(|at| at.to_le_bytes()[0].cast_signed()).collect::<Vec<i8>>());
            alike(&numbers().map(|at| at.to_string()).collect::<Vec<String>>());
            alike(&numbers().map(|at| vec![7_u8; at.into()]).take(300).collect::<Vec<_>>());
            alike(&numbers().map(|at| (at % 2 == 0).then_some(7_u8)).collect::<Vec<_>>());
            alike(&vec![(); len.into()]);
        }
    }

    #[test]
    fn a_list_that_only_begins_with_bytes_is_encoded_whole() {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Part {
            Byte(u8),
            Number(u64),
            Text(&'static str),
        }
        for odd in [0, 1, 2, 39, 40] {
            let part = |at: u8| match at {
                _ if at < odd => Part::Byte(at),
                _ if at.is_multiple_of(3) => Part::Byte(at),
                _ if at % 3 == 1 => Part::Number(1 << at),
                _ => Part::Text("a text"),
            };
            alike(&(0..40).map(part).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_element_that_cannot_be_encoded_is_the_error_wherever_it_is() {
        struct Sealed(bool);
        impl Serialize for Sealed {
            fn serialize<S: Serializer>(
                &self,
                serializer: S,
            ) -> core::result::Result<S::Ok, S::Error> {
                if self.0 {
                    Err(ser::Error::custom("it stays here"))
                } else {
                    7_u8.serialize(serializer)
                }
            }
        }
        for sealed in [0, 1, LIST_MIN, 99] {
            let list: Vec<Sealed> = (0..100).map(|at| Sealed(at == sealed)).collect();
            assert!(Body::encode(&list).is_err());
        }
    }
}
