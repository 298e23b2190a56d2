//! Handshakes of peers that have yet to prove a key. There is no telling members from others among
//! them, so when there are too many it is the one that has taken longest that is given up: who
//! stays silent cannot keep others out.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures::future::{AbortHandle, Abortable};
use libp2p::Multiaddr;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::core::{Transport, transport};

type Upgrade<O> = Pin<Box<dyn Future<Output = io::Result<O>> + Send>>;

/// A transport on which at most `max` handshakes of others are under way.
pub(super) struct Accepting<O> {
    inner: transport::Boxed<O>,
    max: usize,
    /// The longest under way first. What has ended is told by its weak half.
    under_way: VecDeque<(AbortHandle, Weak<()>)>,
}

impl<O> Accepting<O> {
    pub(super) const fn new(inner: transport::Boxed<O>, max: usize) -> Self {
        Self {
            inner,
            max,
            under_way: VecDeque::new(),
        }
    }
}

impl<O: Send + 'static> Accepting<O> {
    fn begin(&mut self, upgrade: Upgrade<O>) -> Upgrade<O> {
        self.under_way
            .retain(|(_, is_under_way)| is_under_way.strong_count() > 0);
        while self.under_way.len() >= self.max {
            if let Some((longest, _)) = self.under_way.pop_front() {
                longest.abort();
            }
        }
        let (handle, registration) = AbortHandle::new_pair();
        let is_under_way = Arc::new(());
        self.under_way
            .push_back((handle, Arc::downgrade(&is_under_way)));
        let upgrade = Abortable::new(upgrade, registration);
        Box::pin(async move {
            let _is_under_way = is_under_way;
            let given_up =
                |_| io::Error::new(io::ErrorKind::TimedOut, "given up for later connections");
            upgrade
                .await
                .unwrap_or_else(|aborted| Err(given_up(aborted)))
        })
    }
}

impl<O: Send + 'static> Transport for Accepting<O> {
    type Output = O;
    type Error = io::Error;
    type ListenerUpgrade = Upgrade<O>;
    type Dial = Upgrade<O>;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Upgrade<O>, TransportError<io::Error>> {
        self.inner.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let event = Pin::new(&mut self.inner).poll(context);
        event.map(|event| event.map_upgrade(|upgrade| self.begin(upgrade)))
    }
}
