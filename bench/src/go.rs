//! The Go package's side: a Go program of ours that does as that package does, over its libraries.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::measure::Figures;
use crate::processes::{Launcher, root};
use crate::spec::{Side, Spec};

/// Where Debian puts the sources of Go's libraries.
const GOPATH: &str = "/usr/share/gocode";

/// The program, built.
pub(crate) struct Go {
    program: PathBuf,
}

impl Go {
    /// Builds the program. Ends this one if there is no Go.
    pub(crate) fn build() -> Self {
        let program = root().join("target/bench-go/peer");
        let build = Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg("main.go")
            .current_dir(root().join("bench/peers/go"))
            .env("GO111MODULE", "off")
            .env("GOPATH", GOPATH)
            .env("GOCACHE", root().join("target/bench-go/cache"))
            .env_remove("GOFLAGS")
            .stdin(Stdio::null())
            .status();
        let is_built = build.is_ok_and(|status| status.success());
        assert!(is_built, "the Go program does not build: run bench/install.sh");
        Self { program }
    }

    /// Measures a Go manager with a Go worker.
    pub(crate) fn both(&self, launcher: &Launcher, links: u32, seconds: f64) -> Figures {
        let mut worker = launcher.start(&self.program, ["worker"]);
        let address: String = worker.told();
        let (id, links) = (worker.id().to_string(), links.to_string());
        let seconds = seconds.to_string();
        launcher.start(&self.program, ["manager", &*address, &id, &links, &seconds]).told()
    }

    /// Measures our manager with a Go worker.
    pub(crate) fn worker_of_ours(&self, launcher: &Launcher, spec: Spec, seconds: f64) -> Figures {
        let mut worker = launcher.start(&self.program, ["worker"]);
        let address = worker.told();
        let manager = Side::Manager { spec, address, worker: worker.id(), seconds };
        launcher.side(&manager).told()
    }
}
