//! Artifacts whose type tag promises a form: snapshots, trees and programs. Whoever adds one may
//! break that promise; here each that is broken is named.

use uor_asl::blocks::BlocksError;
use uor_asl::state::{Filter, ReadError};
use uor_asl::store::View;
use uor_index_format::DecodeError;
use uor_index_format::id::{CanonicalId, Checksum};
use uor_index_format::program::{self, Program};
use uor_index_format::snapshot::{self, Head, Snapshot};
use uor_index_format::tree::{self, Tree};

use super::finding::Finding;
use super::subject::Audited;

/// Longest artifact of these kinds that is looked at, in bytes.
const LEN_MAX: u64 = 64 << 20;

/// An artifact of a form: how findings call it, its type tag, and whether bytes have the form.
struct Form {
    kind: &'static str,
    type_tag: u32,
    check: fn(&[u8]) -> Result<(), DecodeError>,
}

const FORMS: [Form; 3] = [
    Form {
        kind: "snapshot",
        type_tag: snapshot::TYPE_TAG,
        check: |bytes| Snapshot::decode(bytes).map(drop),
    },
    Form {
        kind: "tree",
        type_tag: tree::TYPE_TAG,
        check: |bytes| Tree::decode(bytes).map(drop),
    },
    Form {
        kind: "program",
        type_tag: program::TYPE_TAG,
        check: |bytes| Program::decode(bytes).map(drop),
    },
];

/// Names every visible artifact whose bytes are here and do not have the form that its type tag
/// promises.
///
/// # Errors
/// [`ReadError`] if the state cannot be read.
pub(super) fn malformed(audited: &Audited) -> Result<Vec<Finding>, ReadError> {
    let mut findings = Vec::new();
    for form in &FORMS {
        for (id, checksum) in of_form(audited, form)? {
            let Some(what) = fault(audited, form, checksum) else {
                continue;
            };
            let message = format!(
                "artifact {id} says that it is a {}, and is none: {what}",
                form.kind
            );
            findings.push(Finding::new(form.kind, message, vec![id.to_string()]));
        }
    }
    Ok(findings)
}

fn of_form(audited: &Audited, form: &Form) -> Result<Vec<(CanonicalId, Checksum)>, ReadError> {
    let view = audited.store.view();
    let entries = view
        .state()
        .entries(view.head(), &Filter::type_tag(form.type_tag));
    let named =
        entries.map(|entry| entry.map(|entry| entry.checksum.map(|checksum| (entry.id, checksum))));
    named.filter_map(Result::transpose).collect()
}

/// What is wrong with the bytes; nothing, if they are not here or cannot be read, which is found
/// elsewhere.
fn fault(audited: &Audited, form: &Form, checksum: Checksum) -> Option<String> {
    match audited.store.blocks().read_all(checksum, LEN_MAX) {
        Ok(bytes) => (form.check)(&bytes).err().map(|error| error.to_string()),
        Err(error @ BlocksError::TooLarge { .. }) => Some(error.to_string()),
        Err(_) => None,
    }
}

/// Where a snapshot says of a domain what the log does not: another commit of a number that is
/// here. Where the domain forked, the proof says why.
///
/// # Errors
/// [`ReadError`] if the commits cannot be read.
pub(super) fn contradictions(
    view: &View,
    id: CanonicalId,
    snapshot: &Snapshot,
) -> Result<Vec<Finding>, ReadError> {
    let mut findings = Vec::new();
    for (domain, Head { number, hash }) in &snapshot.frontier {
        let here = view.commit_hash(domain, *number)?;
        let is_of_a_fork = view
            .forks()
            .get(domain)
            .is_some_and(|proof| proof.number() <= *number);
        if let Some(here) = here.filter(|here| here != hash && !is_of_a_fork) {
            let message = format!(
                "snapshot {id} names commit {number} of site {domain} as {hash}; the log has {here} there"
            );
            findings.push(Finding::new("snapshot", message, vec![id.to_string()]));
        }
    }
    Ok(findings)
}
