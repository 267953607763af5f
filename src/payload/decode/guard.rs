//! The deserializer that counts: postcard reads numbers and text, and what holds other values is
//! read here.
//!
//! Little of it is left once it is compiled: sizes are constants, and a value is counted with the
//! place that it lies in. A type without options, enums and collections costs nothing.

use chargehand_core::copy::{PIECE_BYTES_MAX, copied, copied_text};
use postcard::de_flavors::Slice;
use postcard::{Deserializer as Postcard, Error, Result};
use serde::Deserialize;
use serde::de::value::U32Deserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::limits::{Count, FIRST_ENTRY_TIMES, HINT_MAX};

/// What is read, and what it may still take.
pub(super) struct Reader<'de> {
    pub(super) postcard: Postcard<'de, Slice<'de>>,
    pub(super) count: Count,
}

/// A deserializer of one value.
pub(super) struct Guarded<'a, 'de> {
    pub(super) reader: &'a mut Reader<'de>,
    /// The size of the place that the value goes to, which is counted already. A value that is
    /// larger goes elsewhere: it is in a `Box`, say.
    pub(super) place: usize,
}

impl<'de> Guarded<'_, 'de> {
    /// Reads a value of `T` with others in its own place.
    #[inline]
    fn fixed<T>(self, read: impl FnOnce(&mut Reader<'de>) -> Result<T>) -> Result<T> {
        let size = size_of::<T>();
        if size <= self.place {
            return read(self.reader);
        }
        let room = self.reader.count.room;
        self.reader.count.grow(size - self.place)?;
        self.reader.count.nest(size)?;
        let value = read(self.reader);
        self.reader.count.room = room;
        value
    }

    /// Reads a value of `T` that may hold another `T`: one more level.
    #[inline]
    fn level<T>(self, read: impl FnOnce(&mut Reader<'de>) -> Result<T>) -> Result<T> {
        self.fixed(|reader| {
            let room = reader.count.room;
            reader.count.nest_level()?;
            let value = read(reader);
            reader.count.room = room;
            value
        })
    }
}

macro_rules! by_postcard {
    ($($method:ident)*) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            self.reader.postcard.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Guarded<'_, 'de> {
    type Error = Error;

    by_postcard! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_bytes deserialize_unit deserialize_identifier
        deserialize_ignored_any
    }

    /// As postcard does it, but for long text, which is copied here.
    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let text = <&str>::deserialize(&mut self.reader.postcard)?;
        if text.len() <= PIECE_BYTES_MAX {
            return visitor.visit_borrowed_str(text);
        }
        visitor.visit_string(copied_text(text))
    }

    /// As postcard does it, but for many bytes, which are copied here.
    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let bytes = <&[u8]>::deserialize(&mut self.reader.postcard)?;
        if bytes.len() <= PIECE_BYTES_MAX {
            return visitor.visit_borrowed_bytes(bytes);
        }
        visitor.visit_byte_buf(copied(bytes))
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.level(|reader| match u8::deserialize(&mut reader.postcard)? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(Guarded { reader, place: size_of::<V::Value>() }),
            _ => Err(Error::DeserializeBadOption),
        })
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        self.fixed(|reader| {
            visitor.visit_newtype_struct(Guarded { reader, place: size_of::<V::Value>() })
        })
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.level(|reader| {
            let left = usize::deserialize(&mut reader.postcard)?;
            // One byte each. That is all there is to it where they are no larger, or nothing at all.
            reader.count.grow(left)?;
            visitor.visit_seq(Elements { reader, left, counts: true })
        })
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, left: usize, visitor: V) -> Result<V::Value> {
        self.fixed(|reader| visitor.visit_seq(Elements { reader, left, counts: false }))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.level(|reader| {
            let left = usize::deserialize(&mut reader.postcard)?;
            reader.count.grow(left)?;
            visitor.visit_map(Entries { reader, left, times: FIRST_ENTRY_TIMES })
        })
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.level(|reader| visitor.visit_enum(Guarded { reader, place: size_of::<V::Value>() }))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// An enum: first which variant, then what is in it.
impl<'de> EnumAccess<'de> for Guarded<'_, 'de> {
    type Error = Error;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self)> {
        let variant = u32::deserialize(&mut self.reader.postcard)?;
        let variant: U32Deserializer<Error> = variant.into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> VariantAccess<'de> for Guarded<'_, 'de> {
    type Error = Error;

    #[inline]
    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}

/// The elements of a sequence, or the fields of a struct.
struct Elements<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
    /// The elements lie apart from the value, and are still to be counted.
    counts: bool,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        let place = size_of::<S::Value>();
        if place > 1 && self.counts {
            self.counts = false;
            self.reader.count.grow(self.left.saturating_mul(place - 1))?;
            self.reader.count.nest(place)?;
        }
        self.left -= 1;
        seed.deserialize(Guarded { reader: self.reader, place }).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(HINT_MAX))
    }
}

/// The entries of a map.
struct Entries<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: usize,
    /// How often the next entry counts.
    times: usize,
}

impl<'de> Entries<'_, 'de> {
    #[inline]
    fn read<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        let place = size_of::<S::Value>();
        let room = self.reader.count.room;
        self.reader.count.grow(place * self.times)?;
        self.reader.count.nest(place)?;
        let value = seed.deserialize(Guarded { reader: self.reader, place });
        self.reader.count.room = room;
        value
    }
}

impl<'de> MapAccess<'de> for Entries<'_, 'de> {
    type Error = Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.read(seed).map(Some)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        let value = self.read(seed);
        self.times = 1;
        value
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(HINT_MAX))
    }
}
