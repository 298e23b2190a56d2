//! SIGINT and SIGTERM.

/// SIGINT and SIGTERM, if they are to end the node.
pub(crate) struct Signals(Option<[tokio::signal::unix::Signal; 2]>);

impl Signals {
    pub(crate) fn new(are_wanted: bool) -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let signals = || {
            Ok([
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ])
        };
        are_wanted.then(signals).transpose().map(Self)
    }

    /// Comes back when one has arrived; never, if none is wanted.
    pub(crate) async fn arrive(&mut self) {
        match &mut self.0 {
            Some([interrupt, terminate]) => {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            }
            None => std::future::pending().await,
        }
    }
}
