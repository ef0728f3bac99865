//! Reflexes: what acts on a node without an engine, as a few units over readable sh.
//!
//! The texts are `agentless/src/node/{wiring,boot,rotate,live,prune,backoff,cron}.sh`; this module puts them into units.
//! The boot reflex runs the same wiring functions as the engine's session does.

use berth_engine::plan::action::Reflex;

use crate::fault::Fault;
use crate::link::Writer;
use crate::session::quote::Call;

const BOOT: &str = concat!(include_str!("node/wiring.sh"), "\n", include_str!("node/boot.sh"));
const ROTATE: &str = include_str!("node/rotate.sh");
const LIVE: &str = include_str!("node/live.sh");
const PRUNE: &str = include_str!("node/prune.sh");
const BACKOFF: &str = include_str!("node/backoff.sh");
const CRON: &str = include_str!("node/cron.sh");

const NET_UNIT: &str = "[Unit]
Description=Berth: network and namespaces of pods
After=local-fs.target systemd-sysctl.service systemd-tmpfiles-setup.service nftables.service
Before=containerd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh /etc/berth/reflexes/boot/boot.sh net

[Install]
WantedBy=containerd.service
";

const ROUTES_UNIT: &str = "[Unit]
Description=Berth: routes to the pods of other nodes
After=berth-net.service network.target

[Service]
ExecStart=/bin/sh /etc/berth/reflexes/boot/boot.sh routes

[Install]
WantedBy=multi-user.target
";

const DRAIN_UNIT: &str = "[Unit]
Description=Berth: ends pods when the system stops
After=berth-net.service
Before=containerd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh /etc/berth/reflexes/boot/boot.sh drain
TimeoutStopSec=30

[Install]
WantedBy=containerd.service
";

const ROTATE_UNIT: &str = "[Unit]
Description=Berth: bounds the logs of pods

[Service]
Type=oneshot
ExecStart=/bin/sh /etc/berth/reflexes/rotate/rotate.sh
";

const ROTATE_TIMER: &str = "[Unit]
Description=Berth: bounds the logs of pods

[Timer]
OnActiveSec=30s
OnUnitActiveSec=60s
AccuracySec=20s

[Install]
WantedBy=timers.target
";

const CRON_UNIT: &str = "[Unit]
Description=Berth: runs %i
After=containerd.service berth-net.service
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/bin/bash /etc/berth/reflexes/cron/cron.sh %i
LogLevelMax=notice
TimeoutStopSec=5
";

/// Every file of a reflex: a path, or a name within the reflex's own folder, and its text.
fn files(reflex: Reflex) -> Vec<(String, String)> {
    let unit = |name: &str| format!("/etc/systemd/system/{name}");
    match reflex {
        Reflex::Boot => vec![
            ("boot.sh".to_owned(), BOOT.to_owned()),
            (unit("berth-net.service"), NET_UNIT.to_owned()),
            (unit("berth-routes.service"), ROUTES_UNIT.to_owned()),
            (unit("berth-drain.service"), DRAIN_UNIT.to_owned()),
        ],
        Reflex::Rotate => vec![
            ("rotate.sh".to_owned(), ROTATE.to_owned()),
            (unit("berth-rotate.service"), ROTATE_UNIT.to_owned()),
            (unit("berth-rotate.timer"), ROTATE_TIMER.to_owned()),
        ],
        Reflex::Live => {
            let some = "ConditionPathExistsGlob=/etc/berth/tenants/*/pods/*/live\n";
            looks(reflex, LIVE, "ends pods that are not well", (1, "100ms"), some)
        }
        Reflex::Prune => {
            let about = "leads endpoints past servers that do not answer";
            looks(reflex, PRUNE, about, (2, "200ms"), "")
        }
        Reflex::Cron => vec![
            ("cron.sh".to_owned(), CRON.to_owned()),
            (unit("berth-cron@.service"), CRON_UNIT.to_owned()),
        ],
        Reflex::Backoff => {
            let about = "has what ends time and again started ever less often";
            looks(reflex, BACKOFF, about, (2, "200ms"), "")
        }
    }
}

/// The files of a reflex that looks every so many seconds, as exactly as said, where a condition holds. systemd says nothing
/// of it to the journal: every look would be two lines.
fn looks(
    reflex: Reflex,
    script: &str,
    about: &str,
    (every, accuracy): (u32, &str),
    condition: &str,
) -> Vec<(String, String)> {
    let name = reflex.name();
    let head = format!("[Unit]\nDescription=Berth: {about}\n");
    let service = format!(
        "{head}StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/bin/bash /etc/berth/reflexes/{name}/{name}.sh
LogLevelMax=notice
"
    );
    let timer = format!(
        "{head}{condition}
[Timer]
OnActiveSec=1s
OnUnitActiveSec={every}s
AccuracySec={accuracy}

[Install]
WantedBy=timers.target
"
    );
    vec![
        (format!("{name}.sh"), script.to_owned()),
        (format!("/etc/systemd/system/berth-{name}.service"), service),
        (format!("/etc/systemd/system/berth-{name}.timer"), timer),
    ]
}

/// Installs or replaces a reflex; no pod is touched.
pub(crate) async fn install(
    writer: &Writer<'_>,
    reflex: Reflex,
    version: u32,
) -> Result<(), Fault> {
    let mut call = Call::new("reflex_up").arg(reflex.name()).arg(version);
    for (file, text) in files(reflex) {
        call = call.arg(file).data(text.trim_end());
    }
    writer.must(&format!("install reflex {}", reflex.name()), &call).await.map(drop)
}

/// Removes a reflex; no pod is touched.
pub(crate) async fn remove(writer: &Writer<'_>, reflex: Reflex) -> Result<(), Fault> {
    let call = Call::new("reflex_down").arg(reflex.name());
    writer.must(&format!("remove reflex {}", reflex.name()), &call).await.map(drop)
}

/// Runs a script at a moment in seconds since 1970, on a node that is a folder, whose `bin` goes before other programs. Gives
/// what it says.
#[cfg(test)]
fn run(script: &str, folder: &std::path::Path, now: u64) -> String {
    let at = folder.display();
    let script = script
        .replace("/etc/berth/", &format!("{at}/etc/"))
        .replace("/run/berth/", &format!("{at}/run/"))
        .replace("/run/containerd/io.containerd.runtime.v2.task", &format!("{at}/tasks"))
        .replace("/proc/", &format!("{at}/proc/"))
        .replace("/dev/udp/", &format!("{at}/udp/"))
        .replace("$EPOCHSECONDS", &now.to_string());
    let path = std::env::var("PATH").expect("a path");
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .env("PATH", format!("{at}/bin:{path}"))
        .env("AT", folder)
        .output()
        .expect("bash");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).expect("text")
}

#[cfg(test)]
mod backoff_tests;
#[cfg(test)]
mod prune_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::Path;
    use std::process::{Child, Command};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};

    /// A server that answers with whatever status is set; 0 is no answer at all.
    fn server() -> (u16, Arc<AtomicU16>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let status = Arc::new(AtomicU16::new(200));
        let set = Arc::clone(&status);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut request = [0_u8; 1024];
                let _ = stream.read(&mut request);
                let code = set.load(Ordering::SeqCst);
                if code != 0 {
                    let _ = write!(stream, "HTTP/1.1 {code} Word\r\nContent-Length: 0\r\n\r\n");
                }
            }
        });
        (port, status)
    }

    /// A node with one pod whose process is this one.
    fn node(folder: &Path, live: &str, process: u32) {
        let pod = folder.join("etc/tenants/berth.shop.default/pods/web-0.g1");
        let task = folder.join("tasks/berth.shop.default/web-0.g1");
        for dir in [&pod, &task] {
            std::fs::create_dir_all(dir).expect("a folder");
        }
        std::fs::write(pod.join("pod"), "127.0.0.1 ::1\n").expect("written");
        std::fs::write(pod.join("live"), format!("{live}\n")).expect("written");
        std::fs::write(task.join("init.pid"), process.to_string()).expect("written");
        let about = folder.join(format!("proc/{process}"));
        std::fs::create_dir_all(&about).expect("a folder");
        let group = "0::/berth.shop.default/web-0.g1\n";
        std::fs::write(about.join("cgroup"), group).expect("written");
    }

    fn tick(folder: &Path, now: u64) -> String {
        run(LIVE, folder, now)
    }

    fn runs(process: &mut Child) -> bool {
        process.try_wait().expect("its state").is_none()
    }

    fn shell(script: &str) -> Child {
        Command::new("bash").args(["-c", script]).spawn().expect("bash")
    }

    #[test]
    fn what_was_well_is_ended_after_so_many_failures_in_a_row() {
        let (port, status) = server();
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = Command::new("sleep").arg("1000").spawn().expect("sleep");
        node(folder.path(), &format!("http {port} 1 5.000 3 60 5 15 /ready"), process.id());
        for (now, code) in [(100, 200), (101, 500), (102, 404), (103, 302), (104, 500), (105, 0)] {
            status.store(code, Ordering::SeqCst);
            assert_eq!(tick(folder.path(), now), "", "{now}");
        }
        assert!(runs(&mut process));
        status.store(503, Ordering::SeqCst);
        let said = tick(folder.path(), 106);
        assert!(
            said.starts_with("<4>berth.shop.default/web-0.g1: HTTP status 503, 3 times in a row"),
            "{said}"
        );
        assert_eq!(process.wait().expect("its end").signal(), Some(15));
        std::fs::remove_dir_all(folder.path().join("proc")).expect("removed");
        // It is gone, and nothing else is ended in its place.
        assert_eq!(tick(folder.path(), 107), "");
    }

    /// The number of a process that has ended is given to another one, which is nobody's business.
    #[test]
    fn a_process_that_is_not_the_pod_s_is_left_alone() {
        let (port, status) = server();
        status.store(500, Ordering::SeqCst);
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = Command::new("sleep").arg("1000").spawn().expect("sleep");
        node(folder.path(), &format!("http {port} 1 5.000 1 0 1 15 /"), process.id());
        let group = folder.path().join(format!("proc/{}/cgroup", process.id()));
        for other in ["0::/system.slice/ssh.service\n", "0::/berth.shop.default/web-0.g11\n"] {
            std::fs::write(&group, other).expect("written");
            for now in 100..104 {
                assert_eq!(tick(folder.path(), now), "", "{other}");
            }
        }
        assert!(runs(&mut process));
        let _ = (process.kill(), process.wait());
    }

    #[test]
    fn what_does_not_end_by_itself_has_its_grace() {
        let (port, status) = server();
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = shell("trap '' TERM; while :; do sleep 0.05; done");
        node(folder.path(), &format!("http {port} 1 5.000 1 0 4 15 /"), process.id());
        std::thread::sleep(std::time::Duration::from_millis(200));
        status.store(500, Ordering::SeqCst);
        assert!(tick(folder.path(), 100).contains("1 times in a row"));
        for now in 101..104 {
            assert_eq!(tick(folder.path(), now), "");
            assert!(runs(&mut process), "{now}");
        }
        tick(folder.path(), 104);
        assert_eq!(process.wait().expect("its end").signal(), Some(9));
    }

    #[test]
    fn what_was_never_well_has_its_start_and_a_new_process_begins_anew() {
        let (port, status) = server();
        status.store(500, Ordering::SeqCst);
        let folder = tempfile::tempdir().expect("a folder");
        let live = format!("http {port} 1 5.000 2 10 1 15 /");
        let mut first = Command::new("sleep").arg("1000").spawn().expect("sleep");
        node(folder.path(), &live, first.id());
        for now in [100, 105, 109, 110] {
            assert_eq!(tick(folder.path(), now), "", "{now}");
        }
        let mut second = Command::new("sleep").arg("1000").spawn().expect("sleep");
        node(folder.path(), &live, second.id());
        for now in [111, 115, 121] {
            assert_eq!(tick(folder.path(), now), "", "{now}");
        }
        assert!(tick(folder.path(), 122).contains("2 times in a row"));
        assert_eq!(second.wait().expect("its end").signal(), Some(15));
        assert!(runs(&mut first));
        let _ = (first.kill(), first.wait());
    }

    #[test]
    fn it_is_asked_every_so_often_and_a_connection_is_enough_for_tcp() {
        let (port, status) = server();
        status.store(0, Ordering::SeqCst);
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = Command::new("sleep").arg("1000").spawn().expect("sleep");
        node(folder.path(), &format!("tcp {port} 10 5.000 1 0 1 15 -"), process.id());
        assert_eq!(tick(folder.path(), 100), "");
        // A port that nobody listens at, in the same place: not looked at before its time.
        let closed =
            TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it").port();
        node(folder.path(), &format!("tcp {closed} 10 5.000 1 0 1 15 -"), process.id());
        assert_eq!(tick(folder.path(), 109), "");
        assert!(runs(&mut process));
        assert!(tick(folder.path(), 110).contains(&format!("port {closed} refuses connections")));
        assert_eq!(process.wait().expect("its end").signal(), Some(15));
    }
}
