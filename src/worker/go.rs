//! The JSON dialect, where this crate was built with it.

use chargehand_core::Verdict;

#[cfg(feature = "json")]
pub(super) fn request(frame: &[u8]) -> Result<i64, String> {
    match chargehand_core::json::Request::decode(frame) {
        Ok(request) => Ok(request.height),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(feature = "json")]
pub(super) fn answer(height: i64, verdict: Verdict, body: &[u8]) -> Vec<u8> {
    use chargehand_core::json::Response;

    let response = match verdict {
        // The dialect has no place for a result.
        Verdict::Done => Response::done(height),
        Verdict::Failed => Response::failed(height, String::from_utf8_lossy(body)),
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
pub(super) fn answer(_height: i64, _verdict: Verdict, _body: &[u8]) -> Vec<u8> {
    Vec::new() // Never sent: `request` refuses every request.
}
