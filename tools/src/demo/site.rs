//! The demo's three sites: data directories, running nodes, and waiting until they agree.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use uor_asl::disk::Mode;
use uor_asl::state::ReadError;
use uor_index_format::id::StateRoot;
use uor_index_format::membership::ConflictRule;
use uor_index_format::snapshot::Snapshot;
use uor_node::clock::wall_ms;
use uor_node::service::{self, ServiceConfig, ServiceError, ServiceEvent, ServiceHandle};
use uor_node::site::Site;

use crate::console::Console;
use crate::exit::{Failed, Outcome};
use crate::render::short;

/// No step waits longer.
const PATIENCE_MS: u64 = 120_000;
/// How long to wait for the next event before looking again: a payload arrives without one.
const GLANCE: Duration = Duration::from_millis(50);

/// A site whose node runs in this process.
pub(super) struct Running {
    pub(super) name: &'static str,
    pub(super) site: Arc<Site>,
    pub(super) handle: ServiceHandle,
    thread: JoinHandle<Result<(), ServiceError>>,
    address: String,
    /// How long it took, in all waits together, until everything had arrived.
    complete_ms: u64,
}

impl Running {
    fn start(name: &'static str, dir: &Path, events: &Sender<ServiceEvent>) -> Outcome<Self> {
        let site = Arc::new(Site::open(dir, Mode::Write)?);
        let (handle, control) = service::handle();
        let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
        let config = ServiceConfig {
            listen,
            peers: vec![],
            ends_on_signals: false,
        };
        let (started, starts) = channel();
        let (for_node, events) = (site.clone(), events.clone());
        let thread = std::thread::spawn(move || {
            service::run(&for_node, &config, control, &mut |event| {
                if let ServiceEvent::Listening(address) = &event {
                    // Only the first address is waited for.
                    let _ = started.send(address.clone());
                }
                let _ = events.send(event);
            })
        });
        match starts.recv_timeout(Duration::from_millis(PATIENCE_MS)) {
            Ok(address) => Ok(Self {
                name,
                site,
                handle,
                thread,
                address,
                complete_ms: 0,
            }),
            Err(_) if thread.is_finished() => Err(ended(name, thread)),
            Err(_) => Err(Failed::new(format!("the node of {name} does not listen"))),
        }
    }

    /// Where it stands, and with which state.
    fn position(&self) -> (Snapshot, StateRoot) {
        let view = self.site.store().view();
        (view.head().clone(), view.state().root())
    }

    /// Whether every commit of `target` is here, and every payload.
    fn has(&self, target: &Snapshot) -> Result<bool, ReadError> {
        let view = self.site.store().view();
        Ok(view.wanted().is_empty() && view.has(target)?)
    }

    fn payloads_lacking(&self) -> u64 {
        self.site.store().view().wanted().len() as u64
    }

    fn connections(&self) -> Result<usize, ReadError> {
        Ok(self
            .handle
            .status(&self.site)?
            .peers
            .iter()
            .filter(|peer| peer.connected)
            .count())
    }
}

fn ended(name: &str, thread: JoinHandle<Result<(), ServiceError>>) -> Failed {
    match thread.join() {
        Ok(Err(error)) => Failed::from(error),
        _ => Failed::new(format!("the node of {name} ended by itself")),
    }
}

/// Three running sites of one federation.
pub(super) struct Federation {
    pub(super) sites: Vec<Running>,
    events: Receiver<ServiceEvent>,
}

/// A site whose node has ended.
pub(super) struct Ended {
    pub(super) name: &'static str,
    pub(super) dir: PathBuf,
    /// How long it took, in all waits together, until everything had arrived.
    pub(super) complete_ms: u64,
}

impl Federation {
    /// Founds a federation at the first site and lets two others join it with tickets.
    pub(super) fn found(root: &Path, console: &mut Console<'_>) -> Outcome<Self> {
        let (sender, events) = channel();
        let [lab, others @ ..] = ["lab", "hospital", "plant"];
        let initialised = Site::init(&root.join(lab), Some(lab), ConflictRule::First)?;
        console.note(format!(
            "  {lab} founds federation {}",
            short(initialised.federation_id)
        ));
        let mut sites = vec![Running::start(lab, &root.join(lab), &sender)?];
        for name in others {
            let founder = &sites[0];
            let ticket = founder.site.invite(vec![founder.address.clone()])?;
            service::join(&root.join(name), Some(name), &ticket, &[])?;
            sites.push(Running::start(name, &root.join(name), &sender)?);
            console.note(format!("  {name} joins with a ticket from {lab}"));
        }
        Ok(Self { sites, events })
    }

    pub(super) fn lab(&self) -> &Running {
        &self.sites[0]
    }

    pub(super) fn hospital(&self) -> &Running {
        &self.sites[1]
    }

    pub(super) fn plant(&self) -> &Running {
        &self.sites[2]
    }

    /// Waits until every site has what any site has, stands at one place with one state and lacks
    /// no payload.
    pub(super) fn agree(&mut self, meaning: &str, console: &mut Console<'_>) -> Outcome<()> {
        let (began_ms, target) = (wall_ms(), self.everything());
        let mut complete_ms = vec![None; self.sites.len()];
        let note = |this: &Self, complete_ms: &mut Vec<Option<u64>>| {
            for (running, complete_ms) in this.sites.iter().zip(complete_ms) {
                if complete_ms.is_none() && running.has(&target)? {
                    *complete_ms = Some(wall_ms().saturating_sub(began_ms));
                }
            }
            Ok::<_, ReadError>(())
        };
        let agreed = |this: &Self| {
            let first = this.lab().position();
            for running in &this.sites {
                if running.position() != first || !running.has(&target)? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        self.wait(agreed, |this| {
            note(this, &mut complete_ms)?;
            let lacking = this
                .sites
                .iter()
                .map(Running::payloads_lacking)
                .max()
                .unwrap_or(0);
            console.meter.items("payloads on their way", lacking, None);
            Ok(())
        })?;
        note(self, &mut complete_ms)?;
        console.meter.end();
        for (running, complete_ms) in self.sites.iter_mut().zip(complete_ms) {
            running.complete_ms += complete_ms.unwrap_or_default();
        }
        let took_ms = wall_ms().saturating_sub(began_ms);
        let root = self.lab().position().1;
        console.note(format!(
            "  {meaning}: state root {} at all three, after {took_ms} ms",
            short(root)
        ));
        Ok(())
    }

    /// The furthest commit of every domain at any site.
    fn everything(&self) -> Snapshot {
        let mut everything = Snapshot::default();
        for running in &self.sites {
            let head = running.site.head();
            everything.logseq_max = everything.logseq_max.max(head.logseq_max);
            for (domain, head) in head.frontier {
                let furthest = everything.frontier.entry(domain).or_insert(head);
                *furthest = (*furthest).max(head);
            }
        }
        everything
    }

    /// Cuts the last site off, and proves that it is.
    pub(super) fn cut(&self) -> Outcome<()> {
        self.plant().handle.cut(true);
        self.wait(|this| Ok(this.plant().connections()? == 0), |_| Ok(()))
    }

    /// Mends the network.
    pub(super) fn heal(&self) {
        self.plant().handle.cut(false);
    }

    /// Waits until the two sites that are not cut off agree.
    pub(super) fn agree_without_plant(&self) -> Outcome<()> {
        let agreed = |this: &Self| {
            let (lab, hospital) = (this.lab(), this.hospital());
            Ok(lab.position() == hospital.position()
                && lab.payloads_lacking() + hospital.payloads_lacking() == 0)
        };
        self.wait(agreed, |_| Ok(()))
    }

    fn wait(
        &self,
        is_over: impl Fn(&Self) -> Result<bool, ReadError>,
        mut meanwhile: impl FnMut(&Self) -> Result<(), ReadError>,
    ) -> Outcome<()> {
        let deadline_ms = wall_ms().saturating_add(PATIENCE_MS);
        while !is_over(self)? {
            meanwhile(self)?;
            if let Some(dead) = self
                .sites
                .iter()
                .find(|running| running.thread.is_finished())
            {
                return Err(Failed::new(format!(
                    "the node of {} ended by itself",
                    dead.name
                )));
            }
            if wall_ms() > deadline_ms {
                return Err(Failed::new(format!(
                    "the sites did not get there in {} s",
                    PATIENCE_MS / 1000
                )));
            }
            match self.events.recv_timeout(GLANCE) {
                Ok(_) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
        Ok(())
    }

    /// Ends all nodes in good order.
    pub(super) fn stop(self) -> Outcome<Vec<Ended>> {
        let stop = |running: Running| {
            let (name, dir, complete_ms) = (
                running.name,
                running.site.dir().to_owned(),
                running.complete_ms,
            );
            running.handle.stop();
            match running.thread.join() {
                Ok(Ok(())) => Ok(Ended {
                    name,
                    dir,
                    complete_ms,
                }),
                Ok(Err(error)) => Err(Failed::from(error)),
                Err(_) => Err(Failed::new(format!("the node of {name} panicked"))),
            }
        };
        self.sites.into_iter().map(stop).collect()
    }
}
