//! Reflexes: what acts on a node without an engine, as a few units over readable sh.
//!
//! The texts are `agentless/src/node/{wiring,boot,rotate}.sh`; this module puts them into units.
//! The boot reflex runs the same wiring functions as the engine's session does.

use berth_engine::plan::action::Reflex;

use crate::fault::Fault;
use crate::link::Writer;
use crate::session::quote::Call;

const BOOT: &str = concat!(include_str!("node/wiring.sh"), "\n", include_str!("node/boot.sh"));
const ROTATE: &str = include_str!("node/rotate.sh");

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

/// Every file of a reflex: a path, or a name within the reflex's own folder.
fn files(reflex: Reflex) -> &'static [(&'static str, &'static str)] {
    match reflex {
        Reflex::Boot => &[
            ("boot.sh", BOOT),
            ("/etc/systemd/system/berth-net.service", NET_UNIT),
            ("/etc/systemd/system/berth-routes.service", ROUTES_UNIT),
            ("/etc/systemd/system/berth-drain.service", DRAIN_UNIT),
        ],
        Reflex::Rotate => &[
            ("rotate.sh", ROTATE),
            ("/etc/systemd/system/berth-rotate.service", ROTATE_UNIT),
            ("/etc/systemd/system/berth-rotate.timer", ROTATE_TIMER),
        ],
    }
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
