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

#[cfg(feature = "json")]
pub(super) fn answer(height: i64, verdict: Verdict, body: &[u8]) -> Vec<u8> {
    use chargehand_core::json::Response;
    use chargehand_core::message::clip;

    let response = match verdict {
        // The dialect has no place for a result.
        Verdict::Done => Response::done(height),
        // The dialect cannot give anything back.
        Verdict::Failed | Verdict::Returned => {
            let text = String::from_utf8_lossy(body);
            Response::failed(height, clip(&text, crate::runs::FAILURE_BYTES_MAX))
        }
    };
    let mut text = Vec::new();
    response.encode(&mut text);
    text
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
pub(super) fn answer(_height: i64, _verdict: Verdict, _body: &[u8]) -> Vec<u8> {
    Vec::new() // Never sent, for the same reason.
}
