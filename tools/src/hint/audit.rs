//! What only an audit meets.

use std::error::Error;

use uor_asl::store::StoreError;
use uor_index_format::DecodeError;
use uor_node::audit::{self, AuditError};
use uor_node::site::OpenError;

use super::known::{Known, code, help, if_is, of_cause};
use crate::audit::error::OpenError as AuditOpenError;
use crate::code::Code;
use crate::console::output::OutputFailed;

/// What can be audited.
const STORE_HINT: &str =
    "a STORE is a site's data directory, or a running node's address that ends in /p2p/PEER";
/// How a member's word is given.
const VOUCHER_HINT: &str = "--as names the data directory of a member";

/// What is known of an error, if it is one of these.
pub(super) fn known<'a>(error: &'a (dyn Error + 'static)) -> Known<'a> {
    if_is(error, audit_open_error)
        .or_else(|| if_is(error, audit_error))
        .or_else(|| {
            if_is(error, |_: &audit::OtherFederation| {
                code(Code::OtherFederation)
            })
        })
        .or_else(|| if_is(error, audit_snapshot_error))
        .or_else(|| if_is(error, |_: &DecodeError| code(Code::BadInput)))
        .or_else(|| if_is(error, |_: &OutputFailed| code(Code::Output)))
}

fn audit_open_error(error: &AuditOpenError) -> Known<'_> {
    match error {
        AuditOpenError::Directory(audit::OpenError::Directory { source, .. }) => match source {
            StoreError::Absent => no_site(),
            error => Known::Of(error),
        },
        AuditOpenError::Directory(audit::OpenError::IsFile { .. }) => {
            help(Code::WrongKind, STORE_HINT)
        }
        AuditOpenError::VoucherIsFile { .. } => help(Code::WrongKind, VOUCHER_HINT),
        AuditOpenError::Directory(error) => of_cause(error, None),
        AuditOpenError::Scratch(error) => Known::Of(error),
        AuditOpenError::NoVoucher => help(Code::Usage, VOUCHER_HINT),
        AuditOpenError::Voucher(OpenError::Absent { .. }) => help(Code::NoSite, VOUCHER_HINT),
        _ => Known::Nothing,
    }
}

fn audit_error(error: &AuditError) -> Known<'_> {
    match error {
        AuditError::Store(error) => Known::Of(error),
        AuditError::State(error) => Known::Of(error),
        AuditError::Snapshot(error) => Known::Of(error),
        AuditError::Engine(error) => Known::Of(error),
        AuditError::UnknownReceipt { .. } => help(
            Code::NotFound,
            "give its id in hexadecimal, or at least the first 8 digits",
        ),
        AuditError::AmbiguousReceipt { .. } => help(Code::Ambiguous, "give more digits"),
        AuditError::OtherFederation(error) => Known::Of(error),
        AuditError::SnapshotNotHere { .. } => help(
            Code::MissingPayload,
            "name a store that holds it; `uor status` at the site shows what it lacks",
        ),
        _ => Known::Nothing,
    }
}

fn audit_snapshot_error(error: &audit::SnapshotError) -> Known<'_> {
    match error {
        audit::SnapshotError::Unknown { .. } => code(Code::NotFound),
        audit::SnapshotError::Ambiguous { .. } => code(Code::Ambiguous),
        audit::SnapshotError::State(error) => Known::Of(error),
        _ => Known::Nothing,
    }
}

fn no_site() -> Known<'static> {
    help(Code::NoSite, STORE_HINT)
}
