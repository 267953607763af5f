//! The example of a service under systemd says what systemd waits for.
#![cfg(unix)]

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
fn a_service_says_that_it_is_ready_and_goes_on_saying_that_it_lives() {
    let mut program = std::env::current_exe().unwrap();
    program.pop();
    program.pop();
    let program = program.join("examples").join("systemd");
    assert!(
        program.exists(),
        "the example is not built: leave out --test, or run cargo build -p chargehand-status --examples"
    );
    let folder = std::env::temp_dir().join(format!("chargehand-systemd-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut child = Command::new(program)
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "200000")
        .env_remove("WATCHDOG_PID")
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut buffer = [0; 4096];
    while !said.contains("STOPPING=1") {
        let length = socket.recv(&mut buffer).expect("it goes on");
        said += &String::from_utf8_lossy(&buffer[..length]);
    }
    assert!(child.wait().unwrap().success());
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(said.matches("READY=1").count(), 1, "{said}");
    assert!(said.matches("WATCHDOG=1").count() >= 3, "{said}");
    assert!(said.contains("STATUS=1000 of 1000 tasks done"), "{said}");
    assert!(said.find("READY=1") < said.find("WATCHDOG=1"), "{said}");
}
