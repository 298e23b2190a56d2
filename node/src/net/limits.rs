//! Limits that hold for whoever uses the network.

use std::time::Duration;

/// The longest body of a [`NetCommand::Announce`](super::NetCommand::Announce), in bytes.
pub const ANNOUNCEMENT_LEN_MAX: usize = 1000;

/// The number of requests to one peer that may be unanswered at the same time.
pub const REQUESTS_PER_PEER_MAX: usize = 20;

/// How long a request may take, from its first byte to the last byte of its response.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a peer may leave a ping unanswered before its connection is given up.
pub const PING_TIMEOUT: Duration = Duration::from_secs(20);
