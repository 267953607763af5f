//! Header fields as HTTP reads them, over however many lines (RFC 9110 sections 5.3 and 5.6.1).

use http::{HeaderMap, HeaderName};

/// Returns the elements of a list: the lines of that name are one list, white space around its
/// elements and empty ones don't count.
pub(crate) fn list(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    headers
        .get_all(name)
        .into_iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Whether a list has this element, in upper or lower case.
pub(crate) fn lists(headers: &HeaderMap, name: HeaderName, element: &str) -> bool {
    list(headers, name).any(|other| other.eq_ignore_ascii_case(element.as_bytes()))
}

/// Returns the value of a field that is not a list, or `None` where it is missing.
///
/// # Errors
/// Says that there are several lines of that name, so that nobody knows which one is meant.
pub(crate) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a [u8]>, String> {
    let mut lines = headers.get_all(name).into_iter();
    let value = lines.next().map(|line| line.as_bytes().trim_ascii());
    if lines.next().is_some() {
        return Err(format!("it has more than one \"{name}\""));
    }
    Ok(value)
}
