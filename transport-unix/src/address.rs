//! Which paths may be meant.

use std::error::Error;
use std::fmt;

/// How many bytes the path of a socket may have: on Linux and Android 107, elsewhere 103.
pub const PATH_BYTES_MAX: usize =
    if cfg!(any(target_os = "android", target_os = "linux")) { 107 } else { 103 };

const EXPECTED: &str = "expected unix:///run/app.sock, or a path with a slash as ./app.sock";

/// Returns the path in `unix:///path`, or in a bare path, which may be a relative one.
///
/// The same rule for dialling and listening. The path is taken literally: nothing in it is unescaped.
pub(crate) fn path_of(address: &str) -> Result<&str, AddressError> {
    let wrong = |problem: String| AddressError { address: address.into(), problem };
    let path = match address.split_once("://") {
        Some((scheme, path)) if scheme.eq_ignore_ascii_case("unix") => {
            if !path.starts_with('/') {
                return Err(wrong(format!("after unix:// comes an absolute path; {EXPECTED}")));
            }
            path
        }
        Some(_) => return Err(wrong(format!("it has another scheme than unix://; {EXPECTED}"))),
        None => address,
    };
    if !path.contains('/') {
        return Err(wrong(format!("it is no path; {EXPECTED}")));
    }
    if path.ends_with('/') || path.contains('\0') {
        return Err(wrong(format!("it names no file; {EXPECTED}")));
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(wrong(format!(
            "its path has {} bytes, and that of a socket has {PATH_BYTES_MAX} at most: choose a \
             shorter one, by way of a symbolic link to its directory or relative to the working \
             directory",
            path.len()
        )));
    }
    Ok(path)
}

/// An address that cannot be meant. The text says what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError {
    address: Box<str>,
    problem: String,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address \"{}\": {}", self.address.escape_debug(), self.problem)
    }
}

impl Error for AddressError {}

/// Names the listener at a path.
pub(crate) fn name(path: &str) -> Box<str> {
    if path.starts_with('/') { format!("unix://{path}").into() } else { path.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_or_a_path_with_a_slash() {
        for (address, path) in [
            ("unix:///run/app.sock", "/run/app.sock"),
            ("UNIX:///run/app.sock", "/run/app.sock"),
            ("unix:///run/what?not#this%20", "/run/what?not#this%20"),
            ("/run/app.sock", "/run/app.sock"),
            ("./app.sock", "./app.sock"),
            ("run/app.sock", "run/app.sock"),
        ] {
            assert_eq!(path_of(address), Ok(path));
        }
    }

    #[test]
    fn other_addresses_are_named_with_what_is_wrong() {
        for (address, problem) in [
            ("", "no path"),
            ("app.sock", "no path"),
            ("localhost:9000", "no path"),
            ("unix://app.sock", "absolute path"),
            ("unix://@abstract", "absolute path"),
            ("tcp:///run/app.sock", "another scheme"),
            ("unix:///", "no file"),
            ("/run/app/", "no file"),
            ("/run/a\0b", "no file"),
        ] {
            let text = path_of(address).unwrap_err().to_string();
            assert!(text.contains(problem), "{text}");
            assert!(text.contains("unix:///run/app.sock"), "{text}");
        }
    }

    #[test]
    fn a_path_that_is_too_long_is_told_the_limit_and_a_way_round() {
        let fits = format!("/{}", "x".repeat(PATH_BYTES_MAX - 1));
        assert_eq!(path_of(&fits), Ok(&*fits));
        let text = path_of(&format!("unix://{fits}x")).unwrap_err().to_string();
        assert!(text.contains(&format!("{} bytes", PATH_BYTES_MAX + 1)), "{text}");
        assert!(text.contains(&format!("{PATH_BYTES_MAX} at most")), "{text}");
        assert!(text.contains("symbolic link"), "{text}");
    }
}
