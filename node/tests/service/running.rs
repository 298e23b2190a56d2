//! Running nodes of this process, for tests.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use uor_asl::disk::Mode;
use uor_index_format::id::ArtifactKey;
use uor_index_format::record::{Payload, Record};
use uor_index_format::reference::{NAMESPACE_USER, RefAssignment};
use uor_node::clock::wall_ms;
use uor_node::service::{self, ServiceConfig, ServiceEvent, ServiceHandle};
use uor_node::site::Site;

/// No single step of a test waits longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Running {
    pub(crate) site: Arc<Site>,
    pub(crate) handle: ServiceHandle,
    thread: Option<JoinHandle<()>>,
    pub(crate) address: String,
}

impl Running {
    pub(crate) fn start(dir: &Path, events: &Sender<ServiceEvent>) -> Self {
        Self::start_with(dir, events, vec![])
    }

    /// A node that is also told of peers at these addresses.
    pub(crate) fn start_with(
        dir: &Path,
        events: &Sender<ServiceEvent>,
        peers: Vec<String>,
    ) -> Self {
        let site = Arc::new(Site::open(dir, Mode::Write).unwrap());
        let (handle, control) = service::handle();
        let config = ServiceConfig {
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            peers,
            ends_on_signals: false,
        };
        let (first, started) = channel();
        let (on_site, all) = (site.clone(), events.clone());
        let thread = std::thread::spawn(move || {
            let report = &mut |event: ServiceEvent| {
                if let ServiceEvent::Listening(address) = &event {
                    let _ = first.send(address.clone());
                }
                let _ = all.send(event);
            };
            service::run(&on_site, &config, control, report).unwrap();
        });
        let address = started.recv_timeout(PATIENCE).unwrap();
        Self {
            site,
            handle,
            thread: Some(thread),
            address,
        }
    }

    pub(crate) fn stop(mut self) {
        self.handle.stop();
        self.thread.take().unwrap().join().unwrap();
    }

    pub(crate) fn write(&self, records: Vec<Record>) {
        self.site
            .store()
            .commit(self.site.key(), records, wall_ms())
            .unwrap();
    }

    pub(crate) fn put(&self, bytes: &[u8]) -> Record {
        let stats = self.site.store().blocks().put_bytes(bytes).unwrap();
        Record::artifact(
            None,
            Payload {
                checksum: stats.checksum,
                len: bytes.len() as u64,
            },
        )
    }

    pub(crate) fn name(&self, name: &str, target: ArtifactKey) -> Record {
        let namespace = NAMESPACE_USER.to_owned();
        Record::reference(RefAssignment {
            namespace,
            name: name.to_owned(),
            target,
        })
    }
}

/// Waits, on events, until all sites stand at one place and want no payload.
pub(crate) fn agree(sites: &[&Running], events: &Receiver<ServiceEvent>) {
    let head = |running: &Running| {
        let view = running.site.store().view();
        (
            view.head().clone(),
            view.state().root(),
            view.wanted().len(),
        )
    };
    let deadline = wall_ms() + u64::try_from(PATIENCE.as_millis()).unwrap();
    loop {
        let first = head(sites[0]);
        if first.2 == 0 && sites.iter().all(|running| head(running) == first) {
            return;
        }
        assert!(wall_ms() < deadline, "the sites do not agree");
        // A payload arrives without a notice, so a quiet moment is a reason to look again as well.
        match events.recv_timeout(Duration::from_millis(50)) {
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("every node has stopped"),
        }
    }
}

pub(crate) fn directory(root: &Path, name: &str) -> PathBuf {
    root.join(name)
}
