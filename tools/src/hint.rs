//! What a script and a person need to know of an error beside its message: its code, and what to
//! do.
//!
//! Libraries say what is wrong; which option or command helps is known only here. The innermost
//! error that says something of its own decides; hints name only what the programs have.

use std::error::Error;
use std::io;

use uor_asl::blocks::BlocksError;
use uor_asl::disk::DiskError;
use uor_asl::index::IndexError;
use uor_asl::log::LogError;
use uor_asl::state::ReadError as StateError;
use uor_asl::store::{CommitError, StoreError};
use uor_index_format::DecodeError;
use uor_index_format::reference::NameError;
use uor_index_format::ticket::TicketError;
use uor_node::audit::{self, AuditError};
use uor_node::cancel::Cancelled;
use uor_node::control::ControlError;
use uor_node::net::NetError;
use uor_node::service::{JoinError, ReplicaError, ServiceError};
use uor_node::site::{
    AddError, EdgeError, EraseError, FileError, GcError, HistoryError, ImportError, ImportRefusal,
    InitError, InviteError, OpenError, ProgramError, ReadError, RecoverError, RefError,
    RemoveError, ResolutionError, ResolveError, RunError, SnapshotError, StatusError,
};
use uor_pel::run::RunError as PelError;

use crate::audit::store::OpenError as AuditOpenError;
use crate::code::Code;
use crate::console::OutputFailed;

/// What there is to know of an error beside its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// What kind of failure it is.
    pub code: Code,
    /// What to do, if that can be said.
    pub hint: Option<String>,
}

type Known = Option<Advice>;

/// A code that says all there is.
fn code(code: Code) -> Known {
    Some(Advice { code, hint: None })
}

fn help(code: Code, hint: impl Into<String>) -> Known {
    Some(Advice {
        code,
        hint: Some(hint.into()),
    })
}

/// What is known of an error: of itself, or else of its causes.
pub fn advise(error: &(dyn Error + 'static)) -> Advice {
    of(error).unwrap_or(Advice {
        code: Code::Failed,
        hint: None,
    })
}

fn of(error: &(dyn Error + 'static)) -> Known {
    let mut next = Some(error);
    while let Some(error) = next {
        let known = reading(error)
            .or_else(|| writing(error))
            .or_else(|| importing(error))
            .or_else(|| freeing(error))
            .or_else(|| programs(error))
            .or_else(|| opening(error));
        let known = known
            .or_else(|| storing(error))
            .or_else(|| network(error))
            .or_else(|| auditing(error));
        if known.is_some() {
            return known;
        }
        next = error.source();
    }
    None
}

/// What `is` knows of an error, if it is a `T`.
fn if_is<T: Error + 'static>(error: &(dyn Error + 'static), is: impl FnOnce(&T) -> Known) -> Known {
    error.downcast_ref::<T>().and_then(is)
}

/// Finding and reading things.
fn reading(error: &(dyn Error + 'static)) -> Known {
    if_is(error, |error: &ResolveError| match error {
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
        ResolveError::Tree(error) => of(error),
        ResolveError::State(error) => of(error),
        _ => None,
    })
    .or_else(|| {
        if_is(error, |error: &ReadError| match error {
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
            ReadError::State(error) => of(error),
            ReadError::Cancelled(_) => code(Code::Interrupted),
            _ => None,
        })
    })
    .or_else(|| {
        if_is(error, |error: &SnapshotError| match error {
            SnapshotError::Unknown { .. } => {
                help(Code::NotFound, "`uor snapshot ls` lists snapshots")
            }
            SnapshotError::WrongKind { .. } => {
                help(Code::WrongKind, "`uor snapshot ls` lists snapshots")
            }
            SnapshotError::Behind { .. } => help(
                Code::MissingPayload,
                "`uor node` fetches them as soon as a site that has them is reached",
            ),
            SnapshotError::Read(error) => of(error),
            SnapshotError::State(error) => of(error),
            SnapshotError::Store(error) => of(error),
            SnapshotError::Label(error) => of(error),
            SnapshotError::ReservedLabel => code(Code::BadName),
            SnapshotError::File(error) => of(error),
            _ => None,
        })
    })
    .or_else(|| {
        if_is(error, |error: &HistoryError| {
            if let HistoryError::State(error) = error {
                of(error)
            } else {
                None
            }
        })
    })
    .or_else(|| {
        if_is(error, |error: &StatusError| match error {
            StatusError::File(error) => of(error),
            StatusError::State(error) => of(error),
            StatusError::Store(error) => of(error),
            _ => None,
        })
    })
}

/// Making things visible.
fn writing(error: &(dyn Error + 'static)) -> Known {
    if_is(error, |error: &AddError| match error {
        AddError::Special { .. } => help(
            Code::WrongKind,
            "of a pipe, add what comes out of it: `uor add - < PIPE`",
        ),
        AddError::ReservedTag { .. } | AddError::NameForMany { .. } | AddError::Tree { .. } => {
            code(Code::BadInput)
        }
        AddError::Name(error) => of(error),
        AddError::State(error) => of(error),
        AddError::Cancelled(_) => code(Code::Interrupted),
        _ => None,
    })
    .or_else(|| if_is(error, |_: &NameError| code(Code::BadName)))
    .or_else(|| {
        if_is(error, |error: &RefError| match error {
            RefError::Name(error) => of(error),
            RefError::State(error) => of(error),
            RefError::Commit(_) => None,
            _ => code(Code::WrongKind),
        })
    })
    .or_else(|| {
        if_is(error, |error: &RemoveError| {
            if let RemoveError::Commit(_) = error {
                None
            } else {
                code(Code::WrongKind)
            }
        })
    })
    .or_else(|| {
        if_is(error, |error: &EdgeError| match error {
            EdgeError::End(error) => of(error),
            EdgeError::Bounds => code(Code::BadInput),
            EdgeError::Commit(_) => None,
            _ => code(Code::WrongKind),
        })
    })
    .or_else(|| {
        if_is(error, |error: &ResolutionError| match error {
            ResolutionError::Id(error) => of(error),
            ResolutionError::State(error) => of(error),
            ResolutionError::Commit(_) => None,
            _ => help(
                Code::NoConflict,
                "`uor conflicts` lists what is open, with every claim",
            ),
        })
    })
}

/// Importing snapshots.
fn importing(error: &(dyn Error + 'static)) -> Known {
    if_is(error, |error: &ImportError| match error {
        ImportError::MissingBase { .. } => help(
            Code::MissingBase,
            "import the earlier snapshot first, or send this one whole (without -i)",
        ),
        ImportError::Refused(ImportRefusal::Volume) => {
            help(Code::BadStream, "--volume imports a volume, as one file")
        }
        ImportError::OtherContents { .. } => code(Code::OtherContents),
        ImportError::Name(error) => of(error),
        ImportError::NotADirectory { .. } => code(Code::WrongKind),
        ImportError::State(error) => of(error),
        ImportError::File(error) => of(error),
        ImportError::Cancelled(_) => code(Code::Interrupted),
        ImportError::Spool(_)
        | ImportError::Read { .. }
        | ImportError::Blocks { .. }
        | ImportError::Snapshot { .. }
        | ImportError::Commit(_) => None,
        // What the system said while the stream was read is not the stream's fault.
        _ => of_cause(error).or_else(|| code(Code::BadStream)),
    })
}

/// Taking away, and what was lost.
fn freeing(error: &(dyn Error + 'static)) -> Known {
    if_is(error, |error: &GcError| match error {
        GcError::Busy => code(Code::Busy),
        GcError::Retained { .. } => {
            help(Code::Kept, "`uor snapshot drop` stops keeping a snapshot")
        }
        GcError::File(error) => of(error),
        GcError::Store(error) => of(error),
        GcError::Cancelled(_) => code(Code::Interrupted),
        _ => None,
    })
    .or_else(|| {
        if_is(error, |error: &RecoverError| match error {
            RecoverError::File(error) => of(error),
            RecoverError::Store(error) => of(error),
            RecoverError::State(error) => of(error),
            RecoverError::Cancelled(_) => code(Code::Interrupted),
            _ => None,
        })
    })
    .or_else(|| {
        if_is(error, |error: &EraseError| match error {
            EraseError::Retained { .. } => {
                help(Code::Kept, "`uor snapshot drop` stops keeping a snapshot")
            }
            EraseError::Resolve(error) => of(error),
            EraseError::Read(error) => of(error),
            EraseError::State(error) => of(error),
            EraseError::File(error) => of(error),
            EraseError::Store(error) => of(error),
            EraseError::Cancelled(_) => code(Code::Interrupted),
            _ => None,
        })
    })
}

/// Programs and runs.
fn programs(error: &(dyn Error + 'static)) -> Known {
    if_is(error, |error: &ProgramError| match error {
        ProgramError::Compile { .. } => {
            let unread = of_cause(error);
            unread.or_else(|| code(Code::BadProgram))
        }
        ProgramError::Name(error) => of(error),
        ProgramError::Read(error) => of(error),
        ProgramError::State(error) => of(error),
        _ => None,
    })
    .or_else(|| {
        if_is(error, |error: &RunError| match error {
            RunError::Resolve(error) => of(error),
            RunError::Read(error) => of(error),
            RunError::State(error) => of(error),
            RunError::InputTwice { .. } => code(Code::Unbound),
            RunError::Cancelled(_) => code(Code::Interrupted),
            _ => None,
        })
    })
    .or_else(|| {
        if_is(error, |error: &PelError| match error {
            PelError::InputUnbound { name } => help(
                Code::Unbound,
                format!("bind it with --input {name}=KEY, a ref or a path"),
            ),
            PelError::InputUnknown { .. } | PelError::InputCount { .. } => code(Code::Unbound),
            PelError::ProgramAbsent { .. } | PelError::Absent { .. } => code(Code::MissingPayload),
            PelError::NotAProgram { .. } => code(Code::WrongKind),
            PelError::Module { .. } | PelError::Op(_) => code(Code::BadProgram),
            PelError::NoResult {
                source: uor_pel::engine::NoResult::Fuel { .. },
                ..
            } => help(
                Code::NoResult,
                "--fuel N gives each node more, if it is not an endless loop",
            ),
            PelError::NoResult { .. } => code(Code::NoResult),
            PelError::Params { .. } | PelError::Profile { .. } => code(Code::BadInput),
            _ => None,
        })
    })
}

fn of_cause(error: &(dyn Error + 'static)) -> Known {
    error.source().and_then(of)
}

/// Sites, and who may open them.
fn opening(error: &(dyn Error + 'static)) -> Known {
    if_is(error, |error: &OpenError| match error {
        OpenError::Absent { .. } => help(
            Code::NoSite,
            "`uor init` makes a site, `uor join TICKET` joins a federation; --data names another directory",
        ),
        OpenError::InUse { .. } => help(Code::InUse, "wait until it is done"),
        _ => None,
    })
    .or_else(|| {
        if_is(error, |error: &InitError| match error {
            InitError::Exists { .. } => help(Code::SiteExists, "--data names another directory"),
            InitError::NotEmpty { .. } => {
                help(Code::SiteExists, "--data names another directory, which has to be empty")
            }
            InitError::HasHistory { .. } => help(Code::SiteExists, "join from an empty directory: --data names one"),
            InitError::AlreadyMember { .. } => help(Code::SiteExists, "`uor node` keeps it level with the others"),
            InitError::InUse { .. } => help(Code::InUse, "stop it, or name another directory with --data"),
            InitError::Name { .. } => code(Code::BadName),
            InitError::File(error) => of(error),
            InitError::Store(error) => of(error),
            InitError::Open(error) => of(error),
            _ => None,
        })
    })
    .or_else(|| {
        if_is(error, |error: &FileError| match error {
            FileError::Disk(error) => of(error),
            FileError::Damaged { .. } => code(Code::Damaged),
            FileError::Newer { .. } => code(Code::NewerFormat),
            _ => None,
        })
    })
    .or_else(|| {
        if_is(error, |error: &InviteError| match error {
            InviteError::NotAMember => help(Code::NotAMember, "`uor node` asks until it is admitted"),
            InviteError::Addresses => code(Code::BadInput),
            InviteError::File(error) => of(error),
            _ => None,
        })
    })
}

/// Stores, their logs and their blocks.
fn storing(error: &(dyn Error + 'static)) -> Known {
    if_is(error, |error: &StoreError| match error {
        StoreError::Absent => code(Code::NoSite),
        StoreError::InUse => code(Code::InUse),
        StoreError::NewerVersion { .. } => code(Code::NewerFormat),
        StoreError::Cancelled => code(Code::Interrupted),
        StoreError::Disk(error) => of(error),
        StoreError::Log(error) => of(error),
        StoreError::Read(error) => of(error),
        StoreError::Blocks(error) => of(error),
        StoreError::LogCut { .. } => help(
            Code::Damaged,
            "`uor recover` fetches what is missing from other sites; or put the files of `log` back",
        ),
        StoreError::Identity | StoreError::OtherFederation { .. } => help(
            Code::Damaged,
            "write its two lines anew: `uor store format 1` and `federation ID`; `uor status` of another site and the file \
             `acknowledged` beside it have the ID",
        ),
        StoreError::Entry { .. }
        | StoreError::Chain { .. } => help(Code::Damaged, "`uor-replay verify` lists everything that is damaged"),
        _ => None,
    })
    .or_else(|| {
        if_is(error, |error: &CommitError| match error {
            CommitError::Refused(_) => code(Code::NotAMember),
            CommitError::Parked { .. } => help(Code::NotAMember, "`uor node` fetches what is missing"),
            CommitError::Seal(_) => code(Code::BadInput),
            CommitError::Store(error) => of(error),
            _ => None,
        })
    })
    .or_else(|| {
        let damaged = || help(Code::Damaged, "`uor-replay verify` lists everything that is damaged");
        if_is(error, |error: &LogError| match error {
            LogError::Damaged { .. } | LogError::Missing { .. } => help(
                Code::Damaged,
                "put the file back from a backup, or let `uor recover` take over what is valid and ask the other sites for the \
                 rest; `uor-replay verify` lists everything that is damaged",
            ),
            LogError::Newer { .. } => code(Code::NewerFormat),
            LogError::Disk(error) => of(error),
            _ => None,
        })
        .or_else(|| {
            if_is(error, |error: &BlocksError| match error {
                BlocksError::Damaged(_) => help(
                    Code::Damaged,
                    "`uor recover` gets it again from other sites, and `uor add --checksum` from the original; `uor-replay \
                     verify` lists everything that is damaged",
                ),
                BlocksError::Newer { .. } => code(Code::NewerFormat),
                BlocksError::Disk(error) => of(error),
                _ => None,
            })
        })
        .or_else(|| {
            if_is(error, |error: &StateError| match error {
                StateError::Log(error) => of(error),
                StateError::Index(error) => of(error),
                StateError::Disk(error) => of(error),
                _ => damaged(),
            })
        })
        .or_else(|| {
            if_is(error, |_: &IndexError| {
                help(Code::Damaged, "the directory `index` of the store may be removed: it is written anew")
            })
        })
    })
    .or_else(|| if_is(error, |_: &Cancelled| code(Code::Interrupted)))
    .or_else(|| if_is(error, |error: &DiskError| system(&error.source)))
    .or_else(|| if_is(error, system))
}

/// What the system said.
fn system(error: &io::Error) -> Known {
    if let Some(inner) = error.get_ref() {
        // What a stream of ours failed of.
        return of(inner).or_else(|| code(Code::Io));
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

/// Other nodes, and the one that has the directory open.
fn network(error: &(dyn Error + 'static)) -> Known {
    if_is(error, |error: &ControlError| match error {
        ControlError::Silent => {
            help(Code::NodeSilent, "it may be stopped or hung: see to `uor node`, then give the command again")
        }
        ControlError::Busy => help(Code::NodeBusy, "wait until some of them are done"),
        ControlError::OtherRelease { .. } => {
            help(Code::OtherRelease, "use the same release of both, or restart the node")
        }
        ControlError::Broken { .. } | ControlError::Malformed { .. } => {
            help(Code::NodeGone, "the node may have stopped; `uor log` shows whether the command was done")
        }
        ControlError::Output { .. } => code(Code::Output),
        ControlError::RequestTooLong { .. } => code(Code::Usage),
        ControlError::InUse { .. } => code(Code::InUse),
        _ => None,
    })
    .or_else(|| {
        if_is(error, |error: &TicketError| match error {
            TicketError::NotATicket => help(Code::BadTicket, "`uor invite` at a member prints one"),
            _ => help(Code::BadTicket, "copy it again, whole, or ask for a new one"),
        })
    })
    .or_else(|| {
        if_is(error, |error: &JoinError| match error {
            JoinError::Init(error) => of(error),
            JoinError::Open(error) => of(error),
            JoinError::File(error) => of(error),
            JoinError::NoAddress => {
                help(Code::BadAddress, "name one with --peer, or have `uor node` run there and invite again")
            }
            JoinError::OtherSite { .. } => code(Code::BadAddress),
            JoinError::Refused(_) => help(Code::BadTicket, "a ticket works once: ask for a new one"),
            JoinError::Unreachable { .. } | JoinError::Answer => help(
                Code::Unreachable,
                "`uor node` must run at the site that gave the ticket; --peer names another address of it",
            ),
            JoinError::TimedOut => help(Code::Unreachable, "join again with the same ticket"),
            JoinError::Cancelled(_) => code(Code::Interrupted),
            JoinError::Service(error) => of(error),
            _ => None,
        })
    })
    .or_else(|| {
        if_is(error, |error: &ServiceError| match error {
            ServiceError::Address { .. } | ServiceError::AddressWithoutPeer { .. } => code(Code::BadAddress),
            ServiceError::Net(error) => of(error),
            ServiceError::NetStopped => code(Code::Network),
            ServiceError::File(error) => of(error),
            ServiceError::Disk(error) => of(error),
            _ => None,
        })
    })
    .or_else(|| {
        if_is(error, |error: &NetError| match error {
            NetError::Listen { .. } => {
                help(Code::Network, "--listen names another address; port 0 is any that is free")
            }
            _ => code(Code::Network),
        })
    })
    .or_else(|| {
        if_is(error, |error: &ReplicaError| match error {
            ReplicaError::Unreachable { .. } | ReplicaError::Silent { .. } | ReplicaError::Refused { .. } => {
                code(Code::Unreachable)
            }
            ReplicaError::Service(error) => of(error),
            _ => None,
        })
    })
}

/// What only an audit meets.
fn auditing(error: &(dyn Error + 'static)) -> Known {
    let no_site = || {
        help(
            Code::NoSite,
            "a STORE is a site's data directory, or a running node's address that ends in /p2p/PEER",
        )
    };
    let voucher = "--as names the data directory of a member";
    if_is(error, |error: &AuditOpenError| match error {
        AuditOpenError::Directory(audit::OpenError::Directory { source, .. }) => match source {
            StoreError::Absent => no_site(),
            error => of(error),
        },
        AuditOpenError::Directory(error) => of_cause(error),
        AuditOpenError::NoVoucher => help(Code::Usage, voucher),
        AuditOpenError::Voucher(OpenError::Absent { .. }) => help(Code::NoSite, voucher),
        _ => None,
    })
    .or_else(|| {
        if_is(error, |error: &AuditError| match error {
            AuditError::Store(error) => of(error),
            AuditError::State(error) => of(error),
            AuditError::Snapshot(error) => of(error),
            AuditError::Engine(error) => of(error),
            AuditError::UnknownReceipt { .. } => help(
                Code::NotFound,
                "give its id in hexadecimal, or at least the first 8 digits",
            ),
            AuditError::AmbiguousReceipt { .. } => help(Code::Ambiguous, "give more digits"),
            AuditError::OtherFederation(error) => of(error),
            AuditError::SnapshotNotHere { .. } => help(
                Code::MissingPayload,
                "name a store that holds it; `uor status` at the site shows what it lacks",
            ),
            _ => None,
        })
    })
    .or_else(|| {
        if_is(error, |_: &audit::OtherFederation| {
            code(Code::OtherFederation)
        })
    })
    .or_else(|| {
        if_is(error, |error: &audit::SnapshotError| match error {
            audit::SnapshotError::Unknown { .. } => code(Code::NotFound),
            audit::SnapshotError::Ambiguous { .. } => code(Code::Ambiguous),
            audit::SnapshotError::State(error) => of(error),
            _ => None,
        })
    })
    .or_else(|| if_is(error, |_: &DecodeError| code(Code::BadInput)))
    .or_else(|| if_is(error, |_: &OutputFailed| code(Code::Output)))
}
