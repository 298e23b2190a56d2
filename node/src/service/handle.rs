//! Both ends of a node that runs on a thread of its own.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use uor_asl::state::ReadError as StateError;

use super::status::{Live, NodeStatus};
use crate::site::Site;

/// Commands that may wait for the loop.
const COMMANDS_MAX: usize = 16;

/// Holds a running node from another thread.
#[derive(Debug, Clone)]
pub struct ServiceHandle {
    commands: mpsc::Sender<ServiceCommand>,
    live: Arc<Mutex<Live>>,
}

/// The node's side of a [`ServiceHandle`].
#[derive(Debug)]
pub struct ServiceControl {
    pub(super) commands: mpsc::Receiver<ServiceCommand>,
    pub(super) live: Arc<Mutex<Live>>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum ServiceCommand {
    Cut(bool),
    Stop,
}

/// Both ends of the handle of a node that is about to run.
pub fn handle() -> (ServiceHandle, ServiceControl) {
    let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
    let live = Arc::new(Mutex::new(Live::default()));
    (
        ServiceHandle {
            commands: sender,
            live: live.clone(),
        },
        ServiceControl {
            commands: receiver,
            live,
        },
    )
}

impl ServiceHandle {
    /// Ends the node in good order.
    pub fn stop(&self) {
        // A node that has ended already needs no telling.
        let _ = self.commands.blocking_send(ServiceCommand::Stop);
    }

    /// Cuts the node off: every connection is closed and every new one refused, both ways, until it
    /// is called with `false`.
    pub fn cut(&self, is_cut: bool) {
        let _ = self.commands.blocking_send(ServiceCommand::Cut(is_cut));
    }

    /// The addresses that `site`, whose node this is, listens on, and its peers, as of the last
    /// tick.
    ///
    /// # Errors
    /// [`StateError`] if the state cannot be read.
    pub fn status(&self, site: &Site) -> Result<NodeStatus, StateError> {
        let live = self
            .live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        NodeStatus::of(site, &live)
    }
}
