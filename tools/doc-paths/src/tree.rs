//! The files of the repository, and how a name leads to one.

use std::collections::BTreeSet;

/// The files and folders of a repository, by their paths from the root.
pub(crate) struct Tree {
    files: Vec<String>,
    all: BTreeSet<String>,
}

impl Tree {
    pub(crate) fn new(files: Vec<String>) -> Self {
        let mut all = BTreeSet::from([String::new()]);
        for file in &files {
            all.insert(file.clone());
            for (at, _) in file.match_indices('/') {
                all.insert(file[..at].to_owned());
            }
        }
        Self { files, all }
    }

    pub(crate) fn files(&self) -> &[String] {
        &self.files
    }

    /// Returns the path from the root that `path` means when it is read in `folder`, if that leads to
    /// a file or folder. A star stands for any part of a name.
    pub(crate) fn find(&self, folder: &str, path: &str) -> Option<String> {
        let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()?),
                part => parts.push(part),
            }
        }
        let wanted = parts.join("/");
        let fits = |name: &String| {
            name.split('/').count() == parts.len()
                && name.split('/').zip(&parts).all(|(name, part)| star(name, part))
        };
        if wanted.contains('*') {
            return self.all.iter().find(|name| fits(name)).cloned();
        }
        self.all.contains(&wanted).then_some(wanted)
    }

    /// Whether a path begins with a folder of the root.
    pub(crate) fn has_top(&self, path: &str) -> bool {
        let top = path.split('/').next().unwrap_or_default();
        !top.is_empty()
            && path.contains('/')
            && self
                .files
                .iter()
                .any(|file| file.strip_prefix(top).is_some_and(|rest| rest.starts_with('/')))
    }

    /// Whether any file of the repository ends in this path.
    pub(crate) fn has_tail(&self, path: &str) -> bool {
        self.files.iter().any(|file| {
            file.strip_suffix(path).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        })
    }
}

fn star(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((head, tail)) => {
            name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail)
        }
    }
}

/// Returns the folder that a file is in, or the folder itself.
pub(crate) fn folder_of(path: &str) -> &str {
    if path.rsplit('/').next().is_some_and(|name| !name.contains('.')) {
        return path;
    }
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
