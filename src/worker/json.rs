//! The JSON dialect, where this crate was built with it.

use alloc::string::String;
#[cfg(feature = "json")]
use alloc::string::ToString;
use alloc::vec::Vec;

use chargehand_core::Verdict;

use super::Settings;
use crate::payload::HEIGHT_BYTES_MAX;

#[cfg(feature = "json")]
pub(super) fn request(frame: &[u8]) -> Result<i64, String> {
    match chargehand_core::json::Request::decode(frame) {
        Ok(request) => Ok(request.height),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns what the handler gets, or why it cannot.
#[cfg(feature = "json")]
pub(super) fn body<'a>(
    height: i64,
    settings: &Settings,
    buffer: &'a mut [u8; HEIGHT_BYTES_MAX],
) -> Result<&'a [u8], &'static str> {
    settings.json_heights.write(height, buffer)
}

/// Returns an answer of at most so many bytes, if only the failure's text makes it longer.
#[cfg(feature = "json")]
pub(super) fn answer(height: i64, verdict: Verdict, body: &[u8], bytes_max: usize) -> Vec<u8> {
    use alloc::borrow::Cow;

    use chargehand_core::json::Response;
    use chargehand_core::message::clip;

    let mut text = Cow::Borrowed(crate::failure::text_of(body));
    let mut text_max = crate::failure::FAILURE_BYTES_MAX;
    loop {
        let response = match verdict {
            // The dialect has no place for a result.
            Verdict::Done => Response::done(height),
            // The dialect cannot give anything back.
            Verdict::Failed | Verdict::Returned => Response::failed(height, clip(&text, text_max)),
        };
        let mut answer = Vec::new();
        response.encode(&mut answer);
        if answer.len() <= bytes_max || text_max == 0 || text.is_empty() {
            return answer;
        }
        // Escapes make one byte six.
        text_max = text.len().min(text_max) / 2;
        text = String::from(clip(&text, text_max)).into();
    }
}

#[cfg(not(feature = "json"))]
pub(super) fn request(_frame: &[u8]) -> Result<i64, String> {
    Err("this worker was built without the feature `json`".into())
}

#[cfg(not(feature = "json"))]
pub(super) fn body<'a>(
    _height: i64,
    _settings: &Settings,
    _buffer: &'a mut [u8; HEIGHT_BYTES_MAX],
) -> Result<&'a [u8], &'static str> {
    Err("") // Never asked for: `request` refuses every request.
}

#[cfg(not(feature = "json"))]
pub(super) fn answer(_height: i64, _verdict: Verdict, _body: &[u8], _bytes_max: usize) -> Vec<u8> {
    Vec::new() // Never sent, for the same reason.
}
