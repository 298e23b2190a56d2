//! Sites: what people add, read, import, take away and get back.

use std::error::Error;

use uor_index_format::reference::NameError;
use uor_node::site::{
    AddError, BackupError, EdgeError, EraseError, ExcludeError, FileError, GcError, HistoryError,
    ImportError, ImportRefusal, InitError, InviteError, OpenError, ReadError, RecoverError,
    RefError, RemoveError, ResolutionError, ResolveError, RestoreError, SnapshotError, StatusError,
};

use super::known::{Known, code, help, if_is, of_cause};
use crate::code::Code;
use crate::render::plain;

/// What is known of an error, if it is one of these.
pub(super) fn known<'a>(error: &'a (dyn Error + 'static)) -> Known<'a> {
    if_is(error, resolve_error)
        .or_else(|| if_is(error, read_error))
        .or_else(|| if_is(error, snapshot_error))
        .or_else(|| if_is(error, history_error))
        .or_else(|| if_is(error, status_error))
        .or_else(|| if_is(error, add_error))
        .or_else(|| if_is(error, exclude_error))
        .or_else(|| if_is(error, |_: &NameError| code(Code::BadName)))
        .or_else(|| if_is(error, ref_error))
        .or_else(|| if_is(error, remove_error))
        .or_else(|| if_is(error, edge_error))
        .or_else(|| if_is(error, resolution_error))
        .or_else(|| if_is(error, import_error))
        .or_else(|| if_is(error, gc_error))
        .or_else(|| if_is(error, recover_error))
        .or_else(|| if_is(error, backup_error))
        .or_else(|| if_is(error, restore_error))
        .or_else(|| if_is(error, erase_error))
        .or_else(|| if_is(error, open_error))
        .or_else(|| if_is(error, init_error))
        .or_else(|| if_is(error, file_error))
        .or_else(|| if_is(error, invite_error))
}

fn resolve_error(error: &ResolveError) -> Known<'_> {
    match error {
        ResolveError::Unknown { .. } => {
            help(Code::NotFound, "`uor ls` lists names, `uor log` commits")
        }
        ResolveError::Short { .. }
        | ResolveError::NoEntry { .. }
        | ResolveError::Dangling { .. } => code(Code::NotFound),
        ResolveError::UnknownSite { .. } => help(Code::NotFound, "`uor status` lists the sites"),
        ResolveError::Ambiguous { .. } => code(Code::Ambiguous),
        ResolveError::Removed { .. } => help(
            Code::Removed,
            "`uor snapshot ls` lists snapshots; reading commands take one with --at",
        ),
        ResolveError::Later { .. } => help(Code::Later, "leave out --at, or name a later snapshot"),
        ResolveError::NotATree { .. }
        | ResolveError::Symlink { .. }
        | ResolveError::Special { .. } => code(Code::WrongKind),
        ResolveError::Tree(error) => Known::Of(error),
        ResolveError::State(error) => Known::Of(error),
        _ => Known::Nothing,
    }
}

fn read_error(error: &ReadError) -> Known<'_> {
    match error {
        ReadError::Missing { .. } => help(
            Code::MissingPayload,
            "`uor node` fetches it from the other sites as soon as one that has it is reached",
        ),
        ReadError::Erased { .. } => code(Code::Erased),
        ReadError::Withheld { .. } => help(
            Code::Withheld,
            "`uor conflicts` shows the claims, `uor resolve ID --keep CHECKSUM` ends it",
        ),
        ReadError::WrongKind {
            needed: "snapshot", ..
        } => help(Code::WrongKind, "`uor snapshot ls` lists snapshots"),
        ReadError::WrongKind { .. } => code(Code::WrongKind),
        ReadError::Spread { .. } => code(Code::BadInput),
        ReadError::Content { .. } => code(Code::Damaged),
        ReadError::Exists { .. } => help(Code::Exists, "name another path"),
        ReadError::NoDirectory { .. } => {
            help(Code::FileNotFound, "make it first, or name another path")
        }
        ReadError::State(error) => Known::Of(error),
        ReadError::Cancelled(_) => code(Code::Interrupted),
        _ => Known::Nothing,
    }
}

fn snapshot_error(error: &SnapshotError) -> Known<'_> {
    match error {
        SnapshotError::Unknown { .. } => help(Code::NotFound, "`uor snapshot ls` lists snapshots"),
        SnapshotError::WrongKind { .. } => {
            help(Code::WrongKind, "`uor snapshot ls` lists snapshots")
        }
        SnapshotError::Behind { .. } => help(
            Code::MissingPayload,
            "`uor node` fetches them as soon as a site that has them is reached",
        ),
        SnapshotError::Read(error) => Known::Of(error),
        SnapshotError::State(error) => Known::Of(error),
        SnapshotError::Store(error) => Known::Of(error),
        SnapshotError::Label(error) => Known::Of(error),
        SnapshotError::ReservedLabel => code(Code::BadName),
        SnapshotError::LabelTaken { label, .. } => help(
            Code::Exists,
            format!(
                "choose another label, or let go of that snapshot first: `uor snapshot drop {}`",
                plain(label)
            ),
        ),
        SnapshotError::File(error) => Known::Of(error),
        _ => Known::Nothing,
    }
}

fn history_error(error: &HistoryError) -> Known<'_> {
    if let HistoryError::State(error) = error {
        Known::Of(error)
    } else {
        Known::Nothing
    }
}

fn status_error(error: &StatusError) -> Known<'_> {
    match error {
        StatusError::File(error) => Known::Of(error),
        StatusError::State(error) => Known::Of(error),
        StatusError::Store(error) => Known::Of(error),
        _ => Known::Nothing,
    }
}

fn add_error(error: &AddError) -> Known<'_> {
    match error {
        AddError::Special { .. } => help(
            Code::WrongKind,
            "of a pipe, add what comes out of it: `uor add - < PIPE`",
        ),
        AddError::ReservedTag { .. } | AddError::NameForMany { .. } | AddError::Tree { .. } => {
            code(Code::BadInput)
        }
        AddError::Exclude(error) => Known::Of(error),
        AddError::Name(error) => Known::Of(error),
        AddError::State(error) => Known::Of(error),
        AddError::Cancelled(_) => code(Code::Interrupted),
        _ => Known::Nothing,
    }
}

fn exclude_error(error: &ExcludeError) -> Known<'_> {
    match error {
        ExcludeError::Pattern { .. } => help(Code::BadInput, "patterns are as in .gitignore"),
        ExcludeError::NotText { .. } | ExcludeError::TooLong { .. } => code(Code::BadInput),
        _ => Known::Nothing,
    }
}

fn ref_error(error: &RefError) -> Known<'_> {
    match error {
        RefError::Name(error) => Known::Of(error),
        RefError::State(error) => Known::Of(error),
        RefError::Commit(_) => Known::Nothing,
        _ => code(Code::WrongKind),
    }
}

fn remove_error(error: &RemoveError) -> Known<'_> {
    match error {
        RemoveError::Busy => code(Code::Busy),
        RemoveError::NotHere { .. } => help(
            Code::MissingPayload,
            "`uor node` fetches them as soon as a site that has them is reached",
        ),
        RemoveError::Blocks { source, .. } => Known::Of(source),
        RemoveError::State(error) => Known::Of(error),
        RemoveError::Commit(_) => Known::Nothing,
        _ => code(Code::WrongKind),
    }
}

fn edge_error(error: &EdgeError) -> Known<'_> {
    match error {
        EdgeError::End(error) => Known::Of(error),
        EdgeError::Bounds => code(Code::BadInput),
        EdgeError::Commit(_) => Known::Nothing,
        _ => code(Code::WrongKind),
    }
}

fn resolution_error(error: &ResolutionError) -> Known<'_> {
    match error {
        ResolutionError::Id(error) => Known::Of(error),
        ResolutionError::State(error) => Known::Of(error),
        ResolutionError::Commit(_) => Known::Nothing,
        _ => help(
            Code::NoConflict,
            "`uor conflicts` lists what is open, with every claim",
        ),
    }
}

fn import_error(error: &ImportError) -> Known<'_> {
    match error {
        ImportError::MissingBase { .. } => help(
            Code::MissingBase,
            "import the earlier snapshot first, or send this one whole (without -i)",
        ),
        ImportError::Refused(ImportRefusal::Volume) => {
            help(Code::BadStream, "--volume imports a volume, as one file")
        }
        ImportError::OtherContents { .. } => code(Code::OtherContents),
        ImportError::Name(error) => Known::Of(error),
        ImportError::NotADirectory { .. } => code(Code::WrongKind),
        ImportError::State(error) => Known::Of(error),
        ImportError::File(error) => Known::Of(error),
        ImportError::Cancelled(_) => code(Code::Interrupted),
        ImportError::Spool(_)
        | ImportError::Read { .. }
        | ImportError::Blocks { .. }
        | ImportError::Snapshot { .. }
        | ImportError::Commit(_) => Known::Nothing,
        // What the system said while the stream was read is not the stream's fault.
        _ => of_cause(error, Some(Code::BadStream)),
    }
}

fn gc_error(error: &GcError) -> Known<'_> {
    match error {
        GcError::Busy => code(Code::Busy),
        GcError::Retained { .. } => {
            help(Code::Kept, "`uor snapshot drop` stops keeping a snapshot")
        }
        GcError::File(error) => Known::Of(error),
        GcError::Store(error) => Known::Of(error),
        GcError::Cancelled(_) => code(Code::Interrupted),
        _ => Known::Nothing,
    }
}

fn recover_error(error: &RecoverError) -> Known<'_> {
    match error {
        RecoverError::File(error) => Known::Of(error),
        RecoverError::Store(error) => Known::Of(error),
        RecoverError::State(error) => Known::Of(error),
        RecoverError::Cancelled(_) => code(Code::Interrupted),
        _ => Known::Nothing,
    }
}

fn backup_error(error: &BackupError) -> Known<'_> {
    match error {
        BackupError::NotOurs { .. } | BackupError::OtherSite { .. } => code(Code::Exists),
        BackupError::Inside { .. } => code(Code::BadInput),
        BackupError::Busy { .. } => help(Code::Busy, "wait until it is done"),
        BackupError::Damaged { .. } => help(
            Code::Damaged,
            "`uor recover` gets damaged payloads again from other sites, `uor-replay verify` lists everything that is \
             damaged; --damaged keeps a backup of it all the same, beside the one before",
        ),
        BackupError::ReadBack { .. } => code(Code::Damaged),
        BackupError::Short { .. } => code(Code::Io),
        BackupError::Cancelled(_) => code(Code::Interrupted),
        BackupError::Blocks(error) => Known::Of(error),
        BackupError::Log(error) => Known::Of(error),
        _ => Known::Nothing,
    }
}

fn restore_error(error: &RestoreError) -> Known<'_> {
    match error {
        RestoreError::NoDirectory { .. } => code(Code::FileNotFound),
        RestoreError::Absent { .. } => help(
            Code::NotFound,
            "name the directory that was given to `uor backup`, or an `uor-backup-NNNNNNNN` in it",
        ),
        RestoreError::Manifest { .. }
        | RestoreError::Damaged { .. }
        | RestoreError::Commits { .. } => code(Code::Damaged),
        RestoreError::Directory(error) => Known::Of(error),
        RestoreError::Copy(error) => Known::Of(error),
        RestoreError::Cancelled(_) => code(Code::Interrupted),
        RestoreError::Open(error) => Known::OfOr(error, Code::Damaged),
        _ => Known::Nothing,
    }
}

fn erase_error(error: &EraseError) -> Known<'_> {
    match error {
        EraseError::Retained { .. } => {
            help(Code::Kept, "`uor snapshot drop` stops keeping a snapshot")
        }
        EraseError::Resolve(error) => Known::Of(error),
        EraseError::Read(error) => Known::Of(error),
        EraseError::State(error) => Known::Of(error),
        EraseError::File(error) => Known::Of(error),
        EraseError::Store(error) => Known::Of(error),
        EraseError::Cancelled(_) => code(Code::Interrupted),
        _ => Known::Nothing,
    }
}

fn open_error(error: &OpenError) -> Known<'_> {
    match error {
        OpenError::Absent { .. } => help(
            Code::NoSite,
            "`uor init` makes a site, `uor join TICKET` joins a federation; --data names another directory",
        ),
        OpenError::InUse { .. } => help(Code::InUse, "wait until it is done"),
        OpenError::Backup { dir } => help(
            Code::WrongKind,
            format!(
                "restore it: `uor --data NEW restore {}` makes a data directory of it",
                plain(&dir.to_string_lossy())
            ),
        ),
        _ => Known::Nothing,
    }
}

fn init_error(error: &InitError) -> Known<'_> {
    match error {
        InitError::Exists { .. } => help(Code::SiteExists, "--data names another directory"),
        InitError::NotEmpty { .. } => help(
            Code::SiteExists,
            "--data names another directory, which has to be empty",
        ),
        InitError::HasHistory { .. } => help(
            Code::SiteExists,
            "join from an empty directory: --data names one",
        ),
        InitError::AlreadyMember { .. } => help(
            Code::SiteExists,
            "`uor node` keeps it caught up with the others",
        ),
        InitError::InUse { .. } => help(
            Code::InUse,
            "stop it, or name another directory with --data",
        ),
        InitError::Name { .. } => code(Code::BadName),
        InitError::File(error) => Known::Of(error),
        InitError::Store(error) => Known::Of(error),
        InitError::Open(error) => Known::Of(error),
        _ => Known::Nothing,
    }
}

fn file_error(error: &FileError) -> Known<'_> {
    match error {
        FileError::Disk(error) => Known::Of(error),
        FileError::Damaged { .. } => code(Code::Damaged),
        FileError::Newer { .. } => code(Code::NewerFormat),
        _ => Known::Nothing,
    }
}

fn invite_error(error: &InviteError) -> Known<'_> {
    match error {
        InviteError::NotAMember => help(Code::NotAMember, "`uor node` asks until it is admitted"),
        InviteError::Addresses => code(Code::BadInput),
        InviteError::File(error) => Known::Of(error),
        _ => Known::Nothing,
    }
}
