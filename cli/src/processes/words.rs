//! A command as words, and the task in it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::process::Command;

/// What stands for the task.
const TASK: &str = "{}";
/// Lowers how much memory may be asked for, and becomes the command then: both are inherited by whatever it
/// starts, from its first instruction on.
const LIMITED: &str = "ulimit -v \"$0\" && exec \"$@\"";

/// A command, split into words, and where the task goes. No shell sees it, unless that is asked for, and then
/// the task is an argument of the shell's.
#[derive(Debug)]
pub(super) struct Words {
    words: Vec<String>,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In place of each [`TASK`].
    Within,
    Last,
    Stdin,
    /// A server gets its tasks otherwise.
    Nowhere,
}

impl Words {
    /// Splits a command that does one task.
    pub(super) fn new(command: &str, shell: bool, stdin: bool) -> Result<Self, String> {
        if shell {
            // What stands behind the script is its `$0`, and what stands behind that its `$1`.
            let words = ["sh", "-c", command, "sh"].map(str::to_owned).into();
            return Ok(Self { words, place: if stdin { Place::Stdin } else { Place::Last } });
        }
        let words = split(command)?;
        let is_within = words.iter().any(|word| word.contains(TASK));
        let place = match (is_within, stdin) {
            (true, true) => return Err("{} has no meaning with --stdin".to_owned()),
            (true, false) => Place::Within,
            (false, true) => Place::Stdin,
            (false, false) => Place::Last,
        };
        Ok(Self { words, place })
    }

    /// Splits a command that serves.
    pub(super) fn of_server(command: &str) -> Result<Self, String> {
        Ok(Self { words: split(command)?, place: Place::Nowhere })
    }

    /// Returns whether the task goes to standard input.
    pub(super) fn takes_stdin(&self) -> bool {
        self.place == Place::Stdin
    }

    /// Returns whether a task can be an argument.
    pub(super) fn takes(&self, task: &[u8]) -> bool {
        self.takes_stdin() || !task.contains(&0)
    }

    /// Makes the command that does a task.
    pub(super) fn command(&self, task: &[u8], memory: Option<u64>) -> Command {
        let mut words = Vec::with_capacity(self.words.len() + 5);
        if let Some(bytes) = memory {
            let kibibytes = bytes.div_ceil(1024).to_string();
            words.extend(["sh", "-c", LIMITED, &kibibytes].map(OsString::from));
        }
        match self.place {
            Place::Within => words.extend(self.words.iter().map(|word| filled(word, task))),
            _ => words.extend(self.words.iter().map(OsString::from)),
        }
        if self.place == Place::Last {
            words.push(OsString::from_vec(task.to_vec()));
        }
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().expect("a command has a first word"));
        command.args(words).process_group(0);
        command
    }
}

/// Puts the task into a word, as it is.
fn filled(word: &str, task: &[u8]) -> OsString {
    let mut filled = Vec::with_capacity(word.len() + task.len());
    for (index, part) in word.split(TASK).enumerate() {
        if index > 0 {
            filled.extend_from_slice(task);
        }
        filled.extend_from_slice(part.as_bytes());
    }
    OsString::from_vec(filled)
}

fn split(command: &str) -> Result<Vec<String>, String> {
    let words = shlex::split(command).ok_or_else(|| {
        format!(
            "\"{command}\" cannot be split into words: a quote has no end, or a backslash is last"
        )
    })?;
    let program = words.first().ok_or("it is empty")?;
    if !program.contains(TASK) && !is_there(program) {
        return Err(format!("there is no program \"{program}\" that can be run"));
    }
    Ok(words)
}

/// Returns whether a program can be found. Better to say so now than to fail every task.
fn is_there(program: &str) -> bool {
    if program.contains('/') {
        return is_executable(Path::new(program));
    }
    let Some(path) = env::var_os("PATH") else { return true };
    env::split_paths(&path).any(|folder| is_executable(&folder.join(program)))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(words: &Words, task: &str, memory: Option<u64>) -> Vec<String> {
        let command = words.command(task.as_bytes(), memory);
        let command = command.as_std();
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_task_is_never_more_than_a_part_of_a_word() {
        let words = Words::new("sh -c 'echo \"$1\"' x --of={}:{} {}", false, false).unwrap();
        let task = "'; rm -rf \"$HOME\" `id` $(id) | {} *";
        let twice = format!("--of={task}:{task}");
        assert_eq!(made(&words, task, None), ["sh", "-c", "echo \"$1\"", "x", &twice, task]);
    }

    #[test]
    fn a_task_comes_last_where_nothing_says_where() {
        let words = Words::new("echo 'a b'", false, false).unwrap();
        assert_eq!(made(&words, "c d", None), ["echo", "a b", "c d"]);
        let words = Words::new("echo \"$1\"; echo {}", true, false).unwrap();
        assert_eq!(made(&words, "c d", None), ["sh", "-c", "echo \"$1\"; echo {}", "sh", "c d"]);
        for shell in [false, true] {
            let words = Words::new("cat", shell, true).unwrap();
            assert!(words.takes_stdin() && words.takes(b"a\0b"));
            assert!(!made(&words, "c d", None).contains(&"c d".to_owned()));
        }
    }

    #[test]
    fn a_limit_of_memory_stands_before_the_command() {
        let words = Words::new("echo", false, false).unwrap();
        let made = made(&words, "x", Some(5 << 20));
        assert_eq!(made, ["sh", "-c", LIMITED, "5120", "echo", "x"]);
    }

    #[test]
    fn what_cannot_be_run_is_refused_before_the_first_task() {
        for wrong in [
            "",
            "   ",
            "'",
            "no-such-program-anywhere {}",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
            "/no/such",
        ] {
            assert!(Words::new(wrong, false, false).is_err(), "{wrong}");
        }
        assert!(Words::new("echo {}", false, true).is_err());
        assert!(Words::new("{}", false, false).is_ok());
        assert!(!Words::new("echo", false, false).unwrap().takes(b"a\0b"));
    }
}
