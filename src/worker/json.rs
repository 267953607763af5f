//! A manager of the Go package: one request at a time, and answers without results.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use chargehand_core::Verdict;
use chargehand_core::json::{Request, Response};
use chargehand_core::message::clip;

use super::settings::Settings;
use crate::failure::{FAILURE_BYTES_MAX, text_of};
use crate::payload::HEIGHT_BYTES_MAX;

/// What such a manager has asked for.
#[derive(Debug, Default)]
pub(super) struct JsonLink {
    /// The height that is under way.
    height: i64,
    /// What it asked for before it had its answer. Reading goes on up to here, so that the end of a link
    /// is seen while a handler runs.
    next: Option<Result<i64, String>>,
}

impl JsonLink {
    /// Returns the height that a frame asks for.
    #[expect(clippy::unused_self, reason = "there is none without the feature `json`")]
    pub(super) fn read(&self, frame: &[u8]) -> Result<i64, String> {
        match Request::decode(frame) {
            Ok(request) => Ok(request.height),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Keeps what was asked for until the request before it is answered.
    pub(super) fn wait(&mut self, height: Result<i64, String>) {
        self.next = Some(height);
    }

    pub(super) fn has_next(&self) -> bool {
        self.next.is_some()
    }

    pub(super) fn take_next(&mut self) -> Option<Result<i64, String>> {
        self.next.take()
    }

    /// Returns what the handler gets for a height, or why it cannot.
    pub(super) fn begin<'a>(
        &mut self,
        height: i64,
        settings: &Settings,
        buffer: &'a mut [u8; HEIGHT_BYTES_MAX],
    ) -> Result<&'a [u8], &'static str> {
        self.height = height;
        settings.json_heights.write(height, buffer)
    }

    /// Returns an answer of at most `bytes_max` bytes, shortening a failure's text where necessary.
    pub(super) fn answer(&self, verdict: Verdict, body: &[u8], bytes_max: usize) -> Vec<u8> {
        let mut text = Cow::Borrowed(text_of(body));
        let mut text_max = FAILURE_BYTES_MAX;
        loop {
            let response = match verdict {
                // The dialect has no place for a result.
                Verdict::Done => Response::done(self.height),
                // The dialect cannot give anything back.
                Verdict::Failed | Verdict::Returned => {
                    Response::failed(self.height, clip(&text, text_max))
                }
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
}
