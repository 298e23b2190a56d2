//! What is known in one conversation with a peer: which question is out, and what its answers have
//! said so far.

use std::collections::{BTreeSet, VecDeque};

use uor_index_format::id::{CommitHash, SiteId};
use uor_index_format::snapshot::Head;
use uor_index_format::wire::{Contact, HEADS_MAX, Position, WireHead};

/// Most pages of one list in one conversation: more than the largest federation fills.
pub(super) const PAGES_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) enum Stage {
    #[default]
    Idle,
    /// Waits for a page of its frontier.
    Frontier(Conversation),
    /// Waits for frozen domains, or for proofs.
    Forks(Conversation, Proving),
    /// Waits for commits of the first of the conversation's domains.
    Delta(Conversation),
    /// Waits for testimony of how sites became members.
    Testimony(Conversation),
}

/// One conversation.
#[derive(Debug)]
pub(super) struct Conversation {
    /// The snapshot we stood at when it was first asked.
    pub(super) asked_at: [u8; 32],
    /// Where it stands, as it said with its first page.
    pub(super) position: Option<Position>,
    /// Whether it stood there with every page.
    pub(super) is_steady: bool,
    /// Whether everything it has told of is here.
    pub(super) has_all: bool,
    /// The page that is being worked on.
    pub(super) page: Vec<(SiteId, Head)>,
    pub(super) has_more: bool,
    /// The last domain of the last page.
    pub(super) after: Option<[u8; 32]>,
    /// How many pages have come.
    pub(super) pages: usize,
    /// Domains of the page still to fetch; the first is being fetched.
    pub(super) domains: VecDeque<(SiteId, Head)>,
    /// The last commit of the first domain that was asked for or came.
    pub(super) cursor: Cursor,
    /// Whether the first domain is fetched from its start because the peer said that its log is
    /// another: once is enough.
    pub(super) restarted: bool,
    /// How many commits were accepted in this conversation.
    pub(super) applied: u64,
    /// How many commits of this site's own domain it says to have.
    pub(super) claimed: u64,
    /// Sites of the page whose first commit names an admission that is not here.
    pub(super) unvalidated: BTreeSet<SiteId>,
    /// Whether it was asked how these became members, and others of the page that are not known to
    /// be any.
    pub(super) has_asked_testimony: bool,
}

impl Conversation {
    pub(super) const fn new(asked_at: [u8; 32]) -> Self {
        Self {
            asked_at,
            position: None,
            is_steady: true,
            has_all: true,
            page: Vec::new(),
            has_more: false,
            after: None,
            pages: 0,
            domains: VecDeque::new(),
            cursor: Cursor::START,
            restarted: false,
            applied: 0,
            claimed: 0,
            unvalidated: BTreeSet::new(),
            has_asked_testimony: false,
        }
    }
}

/// Where in a domain the next delta starts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    pub(super) after: u64,
    pub(super) hash: CommitHash,
}

impl Cursor {
    pub(super) const START: Self = Self {
        after: 0,
        hash: CommitHash::NONE,
    };
}

/// A page of a frontier, as it came.
pub(super) struct Page {
    pub(super) position: Position,
    pub(super) heads: Vec<WireHead>,
    pub(super) has_more: bool,
    pub(super) contacts: Vec<Contact>,
}

impl Page {
    /// Whether it ascends from where it was to begin, so that paging ends.
    pub(super) fn is_well_formed(&self, after: Option<[u8; 32]>) -> bool {
        let begins = self
            .heads
            .first()
            .is_none_or(|head| after.is_none_or(|after| after < head.domain));
        let ascends = self
            .heads
            .is_sorted_by(|one, next| one.domain < next.domain);
        let is_empty_and_not_last = self.has_more && self.heads.is_empty();
        begins && ascends && self.heads.len() <= HEADS_MAX && !is_empty_and_not_last
    }

    /// Domains that have a commit, with the last one of each.
    pub(super) fn written(&self) -> Vec<(SiteId, Head)> {
        let heads = self.heads.iter().filter(|head| head.number > 0);
        heads.map(head_of).collect()
    }
}

fn head_of(head: &WireHead) -> (SiteId, Head) {
    (
        SiteId::from_bytes(head.domain),
        Head {
            number: head.number,
            hash: CommitHash::from_bytes(head.hash),
        },
    )
}

/// What is still to be learned of frozen domains in one conversation.
#[derive(Debug)]
pub(super) struct Proving {
    /// Domains of the page whose proofs are still to be asked for.
    pub(super) domains: VecDeque<SiteId>,
    /// The last domain of the page.
    pub(super) after: Option<[u8; 32]>,
    pub(super) has_more: bool,
    /// How many pages have come.
    pub(super) pages: usize,
}
