//! Other nodes, and the one that has the directory open.

use std::error::Error;

use uor_index_format::ticket::TicketError;
use uor_index_format::wire::Refusal;
use uor_node::control::ControlError;
use uor_node::net::NetError;
use uor_node::service::{JoinError, ReplicaError, ServiceError};

use super::known::{Known, code, help, if_is};
use crate::code::Code;

/// What is known of an error, if it is one of these.
pub(super) fn known<'a>(error: &'a (dyn Error + 'static)) -> Known<'a> {
    if_is(error, control_error)
        .or_else(|| if_is(error, ticket_error))
        .or_else(|| if_is(error, join_error))
        .or_else(|| if_is(error, service_error))
        .or_else(|| if_is(error, net_error))
        .or_else(|| if_is(error, replica_error))
}

fn control_error(error: &ControlError) -> Known<'_> {
    match error {
        ControlError::Silent => help(
            Code::NodeSilent,
            "it may be stopped or hung: see to `uor node`, then give the command again",
        ),
        ControlError::Busy => help(Code::NodeBusy, "wait until some of them are done"),
        ControlError::OtherRelease { .. } => help(
            Code::OtherRelease,
            "use the same release of both, or restart the node",
        ),
        ControlError::Broken { .. } | ControlError::Malformed { .. } => help(
            Code::NodeGone,
            "the node may have stopped; `uor log` shows whether the command was done",
        ),
        ControlError::Output { .. } => code(Code::Output),
        ControlError::RequestTooLong { .. } => code(Code::Usage),
        ControlError::InUse { .. } => code(Code::InUse),
        _ => Known::Nothing,
    }
}

fn ticket_error(error: &TicketError) -> Known<'_> {
    match error {
        TicketError::NotATicket => help(Code::BadTicket, "`uor invite` at a member prints one"),
        _ => help(
            Code::BadTicket,
            "copy it again, whole, or ask for a new one",
        ),
    }
}

fn join_error(error: &JoinError) -> Known<'_> {
    match error {
        JoinError::Init(error) => Known::Of(error),
        JoinError::Open(error) => Known::Of(error),
        JoinError::File(error) => Known::Of(error),
        JoinError::NoAddress => help(
            Code::BadAddress,
            "name one with --peer, or have `uor node` run there and invite again",
        ),
        JoinError::OtherSite { .. } => code(Code::BadAddress),
        JoinError::Refused(_) => help(Code::BadTicket, "a ticket works once: ask for a new one"),
        JoinError::Unreachable { .. } | JoinError::Answer => help(
            Code::Unreachable,
            "`uor node` must run at the site that gave the ticket; --peer names another address of it",
        ),
        JoinError::TimedOut => help(Code::Unreachable, "join again with the same ticket"),
        JoinError::Cancelled(_) => code(Code::Interrupted),
        JoinError::Service(error) => Known::Of(error),
        _ => Known::Nothing,
    }
}

fn service_error(error: &ServiceError) -> Known<'_> {
    match error {
        ServiceError::Address { .. } | ServiceError::AddressWithoutPeer { .. } => {
            code(Code::BadAddress)
        }
        ServiceError::Net(error) => Known::Of(error),
        ServiceError::NetStopped => code(Code::Network),
        ServiceError::File(error) => Known::Of(error),
        ServiceError::Disk(error) => Known::Of(error),
        _ => Known::Nothing,
    }
}

fn net_error(error: &NetError) -> Known<'_> {
    match error {
        NetError::Taken { .. } => help(
            Code::Network,
            "stop that program, or name another port with --listen; port 0 is any that is free",
        ),
        NetError::NotHere { .. } => help(
            Code::Network,
            "--listen takes an address of this machine; /ip4/0.0.0.0/… is all of them",
        ),
        NetError::NotPermitted { .. } => help(
            Code::Network,
            "ports below 1024 are for those whom the system lets; --listen names another",
        ),
        NetError::Listen { .. } | NetError::Bind { .. } => help(
            Code::Network,
            "--listen names another address; port 0 is any that is free",
        ),
        _ => code(Code::Network),
    }
}

fn replica_error(error: &ReplicaError) -> Known<'_> {
    match error {
        ReplicaError::Refused {
            refusal: Refusal::NotAdmitted,
            ..
        } => help(
            Code::Unreachable,
            "--as names the data directory of a member; of a new one, wait until that node has heard of it. A word holds for \
             a day: see to both clocks",
        ),
        ReplicaError::Unreachable { .. }
        | ReplicaError::Silent { .. }
        | ReplicaError::Refused { .. } => code(Code::Unreachable),
        ReplicaError::Service(error) => Known::Of(error),
        _ => Known::Nothing,
    }
}
