//! A request for a handler in this process, and a request that came as bytes.

use alloc::string::String;

use serde::de::DeserializeOwned;

use super::decode::plain::same;
use super::decode::{DecodeLimits, decode};
use super::height::{HEIGHT_BYTES_MAX, RangeHeight, encode_height};

/// A request for a handler in this process.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// One of a range.
    Height(RangeHeight),
    /// Encoded by whoever called.
    Body(&'a [u8]),
}

impl Asked<'_> {
    /// Makes the handler's own type of it. A height that is of that type already is not encoded.
    #[inline]
    pub(crate) fn read<Q: DeserializeOwned + 'static>(
        self,
        limits: &DecodeLimits,
    ) -> Result<Q, String> {
        let height = match self {
            Self::Body(body) => return decode_request(body, limits),
            Self::Height(height) => height,
        };
        let request = match height {
            RangeHeight::Unsigned(height) => same(height),
            RangeHeight::Signed(height) => same(height),
        };
        if let Some(request) = request {
            return Ok(request);
        }
        decode_request(encode_height(height, &mut [0; HEIGHT_BYTES_MAX]), limits)
    }
}

/// Decodes a request, all of it.
#[inline]
pub(crate) fn decode_request<Q: DeserializeOwned + 'static>(
    body: &[u8],
    limits: &DecodeLimits,
) -> Result<Q, String> {
    decode(body, limits).map_err(|reason| {
        format!("the request is not of the type that this worker takes: {reason}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: DecodeLimits = DecodeLimits::new();

    #[test]
    fn a_height_is_encoded_as_postcard_does_it() {
        let near = |power: u32| [(1_u64 << power) - 1, 1 << power, u64::MAX >> power];
        for height in (0..64).flat_map(near) {
            let buffer = &mut [0; HEIGHT_BYTES_MAX];
            let unsigned = RangeHeight::Unsigned(height);
            assert_eq!(encode_height(unsigned, buffer), postcard::to_stdvec(&height).unwrap());
            for height in
                [i64::from_ne_bytes(height.to_ne_bytes()), 0_i64.wrapping_sub_unsigned(height)]
            {
                let signed = RangeHeight::Signed(height);
                assert_eq!(encode_height(signed, buffer), postcard::to_stdvec(&height).unwrap());
                assert_eq!(Asked::Height(signed).read(&LIMITS), Ok(height));
                assert_eq!(Asked::Height(signed).read(&LIMITS), Ok((height,)));
                assert_eq!(RangeHeight::from_index(signed.to_index(), true), signed);
            }
        }
    }

    #[test]
    fn a_height_is_what_the_handler_takes_or_a_failure_says_so() {
        assert_eq!(Asked::Height(RangeHeight::Unsigned(u64::MAX)).read(&LIMITS), Ok(u64::MAX));
        assert_eq!(Asked::Height(RangeHeight::Unsigned(5)).read(&LIMITS), Ok(5_u32));
        assert_eq!(Asked::Height(RangeHeight::Unsigned(5)).read(&LIMITS), Ok((5_u8,)));
        let text = Asked::Height(RangeHeight::Unsigned(1 << 40)).read::<u32>(&LIMITS).unwrap_err();
        assert!(text.contains("not of the type that this worker takes"), "{text}");
        assert_eq!(Asked::Body(&[7]).read(&LIMITS), Ok(7_u64));
        assert!(Asked::Body(&[7, 7]).read::<u64>(&LIMITS).is_err());
    }
}
