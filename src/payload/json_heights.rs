//! How the heights of the JSON dialect look to calls and handlers.

use super::height::HEIGHT_BYTES_MAX;

/// Says whether calls to workers of the Go `worker` package, and handlers that serve its managers,
/// have heights as `u64` or as `i64`.
///
/// On the wire a height is any `i64`. The two encodings cannot be told apart: a `u64` 5 that is
/// read as an `i64` is -3. So choose what the calls and handlers of this side have, and choose it
/// for all of them: with `Signed`, native peers of the same pool or worker should speak of `i64`
/// too. It says nothing of ranges: the heights of [`Pool::process`](crate::Pool::process) are `u64`,
/// and those of [`Pool::process_signed`](crate::Pool::process_signed) are `i64`, always.
///
/// ```no_run
/// # #[cfg(all(feature = "ws", feature = "tokio"))]
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use chargehand::core::io::Dialect;
/// use chargehand::{JsonHeights, Pool, tokio::Tokio, ws::WsConnector};
///
/// let go_worker = WsConnector::new(Tokio::new(), "ws://10.0.0.7:9000")?.dialect(Dialect::Json);
/// let (pool, driver) = Pool::builder(Tokio::new())
///     .json_heights(JsonHeights::Signed) // pool.call::<(), i64>(&-1)
///     .connect(go_worker)
///     .build()?;
/// # drop((pool, driver));
/// # Ok(())
/// # }
/// ```
///
/// See [`Builder::json_heights`](crate::Builder::json_heights) and
/// [`Worker::json_heights`](crate::Worker::json_heights).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum JsonHeights {
    /// A postcard `u64`, as everywhere else. A height below zero, or above 2^63 - 1, fails.
    #[default]
    Unsigned,
    /// A postcard `i64`: every height there is.
    Signed,
}

impl JsonHeights {
    /// Returns the height that a call's body asks for.
    pub(crate) fn read(self, body: &[u8]) -> Result<i64, &'static str> {
        match self {
            Self::Unsigned => {
                let height: Option<u64> = whole(body);
                height.and_then(|height| height.try_into().ok()).ok_or(
                    "workers of the Go package take heights only, and this request is no u64 of \
                     at most 2^63 - 1: to call them with any i64, set \
                     Builder::json_heights(JsonHeights::Signed)",
                )
            }
            Self::Signed => whole(body).ok_or(
                "workers of the Go package take heights only, and this request is no i64, which \
                 Builder::json_heights(JsonHeights::Signed) asks for",
            ),
        }
    }

    /// Returns the body that a handler gets for a height.
    pub(crate) fn write(
        self,
        height: i64,
        buffer: &mut [u8; HEIGHT_BYTES_MAX],
    ) -> Result<&[u8], &'static str> {
        let written = match self {
            Self::Unsigned => {
                let height = u64::try_from(height).map_err(|_| {
                    "the height is below zero, and this worker's handler takes u64: for any i64, \
                     set Worker::json_heights(JsonHeights::Signed)"
                })?;
                postcard::to_slice(&height, buffer)
            }
            Self::Signed => postcard::to_slice(&height, buffer),
        };
        Ok(written.expect("ten bytes hold every number of 64 bits"))
    }
}

/// Decodes all of a body.
fn whole<T: serde::de::DeserializeOwned>(body: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Some(value),
        Ok(_) | Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_for_a_handler_is_read_from_a_call() {
        for height in [i64::MIN, -1, 0, 1, 63, 64, i64::MAX] {
            let mut buffer = [0; HEIGHT_BYTES_MAX];
            let body = JsonHeights::Signed.write(height, &mut buffer).unwrap();
            assert_eq!(JsonHeights::Signed.read(body), Ok(height));
            let body = JsonHeights::Unsigned.write(height, &mut buffer);
            assert_eq!(body.is_ok(), height >= 0);
            if let Ok(body) = body {
                assert_eq!(JsonHeights::Unsigned.read(body), Ok(height));
            }
        }
    }

    #[test]
    fn what_is_no_height_is_refused_with_the_remedy() {
        let above = postcard::to_allocvec(&(1_u64 << 63)).unwrap();
        for body in [&above[..], b"", b"\x05\x00", b"\x80"] {
            let why = JsonHeights::Unsigned.read(body).unwrap_err();
            assert!(why.contains("Builder::json_heights(JsonHeights::Signed)"), "{why}");
        }
        for body in [&b""[..], b"\x05\x00", b"\x80"] {
            assert!(JsonHeights::Signed.read(body).unwrap_err().contains("no i64"));
        }
        let why = JsonHeights::Unsigned.write(-1, &mut [0; HEIGHT_BYTES_MAX]).unwrap_err();
        assert!(why.contains("Worker::json_heights(JsonHeights::Signed)"), "{why}");
    }
}
