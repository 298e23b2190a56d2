//! Stores, their logs and their blocks, and what the system says.

use std::error::Error;
use std::io;

use uor_asl::blocks::BlocksError;
use uor_asl::disk::DiskError;
use uor_asl::index::IndexError;
use uor_asl::log::LogError;
use uor_asl::state::ReadError as StateError;
use uor_asl::store::{CommitError, StoreError};
use uor_node::cancel::Cancelled;

use super::known::{Advice, Known, code, help, if_is};
use crate::code::Code;
use crate::scratch::NoScratch;

/// What is known of an error, if it is one of these.
pub(super) fn known<'a>(error: &'a (dyn Error + 'static)) -> Known<'a> {
    if_is(error, store_error)
        .or_else(|| if_is(error, commit_error))
        .or_else(|| if_is(error, log_error))
        .or_else(|| if_is(error, blocks_error))
        .or_else(|| if_is(error, state_error))
        .or_else(|| {
            if_is(error, |_: &IndexError| {
                help(
                    Code::Damaged,
                    "the directory `index` of the store may be removed: it is rebuilt",
                )
            })
        })
        .or_else(|| if_is(error, |_: &Cancelled| code(Code::Interrupted)))
        .or_else(|| if_is(error, no_scratch))
        .or_else(|| if_is(error, disk_error))
        .or_else(|| if_is(error, system))
}

fn store_error(error: &StoreError) -> Known<'_> {
    match error {
        StoreError::Absent => code(Code::NoSite),
        StoreError::InUse => code(Code::InUse),
        StoreError::NewerVersion { .. } => code(Code::NewerFormat),
        StoreError::Cancelled => code(Code::Interrupted),
        StoreError::Disk(error) => Known::Of(error),
        StoreError::Log(error) => Known::Of(error),
        StoreError::Read(error) => Known::Of(error),
        StoreError::Blocks(error) => Known::Of(error),
        StoreError::LogCut { .. } => help(
            Code::Damaged,
            "`uor recover` fetches what is missing from other sites; or put the files of `log` back",
        ),
        StoreError::Identity | StoreError::OtherFederation { .. } => help(
            Code::Damaged,
            "write its two lines again: `uor store format 1` and `federation ID`; `uor status` of another site and the file \
             `acknowledged` beside it have the ID",
        ),
        StoreError::Entry { .. } | StoreError::Chain { .. } => help(
            Code::Damaged,
            "`uor-replay verify` lists everything that is damaged",
        ),
        _ => Known::Nothing,
    }
}

fn commit_error(error: &CommitError) -> Known<'_> {
    match error {
        CommitError::Rejected(_) => code(Code::NotAMember),
        CommitError::Parked { .. } => help(Code::NotAMember, "`uor node` fetches what is missing"),
        CommitError::Seal(_) => code(Code::BadInput),
        CommitError::Store(error) => Known::Of(error),
        _ => Known::Nothing,
    }
}

fn log_error(error: &LogError) -> Known<'_> {
    match error {
        LogError::Damaged(_) | LogError::Missing { .. } => help(
            Code::Damaged,
            "put the file back from a backup, or let `uor recover` take over what is valid and ask the other sites for the \
                 rest; `uor-replay verify` lists everything that is damaged",
        ),
        LogError::Newer { .. } => code(Code::NewerFormat),
        LogError::Disk(error) => Known::Of(error),
        _ => Known::Nothing,
    }
}

fn blocks_error(error: &BlocksError) -> Known<'_> {
    match error {
        BlocksError::Damaged(_) => help(
            Code::Damaged,
            "`uor recover` gets it again from other sites, and `uor add --checksum` from the original; `uor-replay \
                     verify` lists everything that is damaged",
        ),
        BlocksError::Newer { .. } => code(Code::NewerFormat),
        BlocksError::Disk(error) => Known::Of(error),
        _ => Known::Nothing,
    }
}

fn state_error(error: &StateError) -> Known<'_> {
    match error {
        StateError::Log(error) => Known::Of(error),
        StateError::Index(error) => Known::Of(error),
        StateError::Disk(error) => Known::Of(error),
        _ => damaged(),
    }
}

fn no_scratch(error: &NoScratch) -> Known<'_> {
    match system(&error.source) {
        Known::Advice(Advice { code, hint: None }) => {
            help(code, "set TMPDIR to a folder that can be written")
        }
        known => known,
    }
}

fn disk_error(error: &DiskError) -> Known<'_> {
    system(&error.source)
}

/// What the system said.
fn system(error: &io::Error) -> Known<'_> {
    if let Some(inner) = error.get_ref() {
        // What a stream of ours failed of.
        return Known::OfOr(inner, Code::Io);
    }
    match error.kind() {
        io::ErrorKind::NotFound => code(Code::FileNotFound),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            code(Code::PermissionDenied)
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => help(
            Code::DiskFull,
            "free some space: `uor gc` frees what nothing shows any more",
        ),
        io::ErrorKind::AlreadyExists => code(Code::Exists),
        _ => code(Code::Io),
    }
}

fn damaged() -> Known<'static> {
    help(
        Code::Damaged,
        "`uor-replay verify` lists everything that is damaged",
    )
}
