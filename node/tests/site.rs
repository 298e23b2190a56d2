//! A site as a person uses it: every method once for real, on files, and the wrong inputs that a person gives.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use uor_asl::disk::Mode;
use uor_asl::judge::Verdict;
use uor_index_format::commit::Commit;
use uor_index_format::edge::Role;
use uor_index_format::id::{ArtifactKey, SiteId};
use uor_index_format::key::SiteKey;
use uor_index_format::membership::ConflictRule;
use uor_index_format::program;
use uor_index_format::receipt::{Derivation, Outcome, Status as Ended};
use uor_index_format::record::{Payload, Record};
use uor_node::site::{
    AddError, AddEvent, AddOptions, Added, Binding, EdgeDraft, EdgeError, InitError, OpenError, ProgramError, Progress,
    ReadError, RedeemError, Redeemed, RefError, RemoveError, ResolutionError, ResolveError, RunError, RunOptions, Site,
    SnapshotError, Sort, Source,
};
use uor_tgk::export;
use uor_tgk::trace::Direction;

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("site-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn site(&self, name: &str) -> Site {
        self.site_with(name, ConflictRule::First)
    }

    fn site_with(&self, name: &str, rule: ConflictRule) -> Site {
        Site::init(&self.at(name), Some(name), rule).unwrap();
        Site::open(&self.at(name), Mode::Write).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn add(site: &Site, path: &Path) -> Added {
    add_as(site, path, None)
}

fn add_as(site: &Site, path: &Path, reference: Option<&str>) -> Added {
    let options = AddOptions { reference, ..AddOptions::default() };
    site.add(vec![Source::Path(path.to_owned())], &options, &mut |_| {}).unwrap().remove(0)
}

fn cat(site: &Site, text: &str) -> Vec<u8> {
    let target = site.resolve(text, &site.head()).unwrap();
    let mut bytes = Vec::new();
    site.open_file(&target).unwrap().reader.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Gives `to` every commit of `from` that it lacks, and every payload.
fn sync(from: &Site, to: &Site) {
    sync_records(from, to);
    let wanted: Vec<_> = to.store().view().wanted().keys().copied().collect();
    for checksum in wanted {
        if let Ok(mut payload) = from.store().blocks().read(checksum) {
            to.store().blocks().put_verified(checksum, &mut payload).unwrap();
            to.store().payloads_arrived(&[checksum]).unwrap();
        }
    }
}

fn sync_records(from: &Site, to: &Site) {
    let mut commits = from.store().view().commits().collect::<Result<Vec<_>, _>>().unwrap();
    commits.sort_by_key(|commit| (commit.logseq, commit.domain));
    let read = |domain: &SiteId, number| from.store().read_commit(domain, number).unwrap().unwrap();
    let commits: Vec<Commit> = commits.iter().map(|commit| read(&commit.domain, commit.number)).collect();
    for verdict in to.store().merge(commits).unwrap() {
        assert!(matches!(verdict, Verdict::Counts | Verdict::Known), "{verdict:?}");
    }
}

/// A second member of `a`'s federation.
fn join(scratch: &Scratch, a: &Site, name: &str) -> Site {
    let ticket = a.invite(vec![]).unwrap();
    let joined = Site::init_joining(&scratch.at(name), Some(name), &ticket).unwrap();
    assert!(matches!(a.redeem(&ticket.token, joined.site_id, name).unwrap(), Redeemed::Admitted(_)));
    let site = Site::open(&scratch.at(name), Mode::Write).unwrap();
    sync(a, &site);
    site.join_completed().unwrap();
    site
}

fn listing(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        #[expect(clippy::disallowed_methods, reason = "sorted below")]
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.display().to_string());
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Threads of a node share a site.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Site>();
};

mod life {
    use super::*;

    #[test]
    fn a_new_site_is_a_federation_of_one_and_opens_again() {
        let scratch = Scratch::new("new");
        let dir = scratch.at("deep/down/a");
        let made = Site::init(&dir, Some("Lab A"), ConflictRule::Quorum).unwrap();
        assert_eq!(fs::metadata(dir.join("key")).unwrap().permissions().mode() & 0o777, 0o600);
        let site = Site::open(&dir, Mode::Write).unwrap();
        let status = site.status().unwrap();
        assert_eq!((status.site_id, status.federation_id), (made.site_id, made.federation_id));
        assert_eq!((status.name.as_str(), status.conflict_rule), ("Lab A", Some("quorum")));
        assert_eq!((status.entries, status.members.len(), status.domains.len()), (1, 1, 1));
        assert_eq!(status.members[0].name, "Lab A");
        assert_eq!(status.state_root, site.store().view().state().root());
        assert!(status.disk.log_bytes > 0);
    }

    #[test]
    fn a_site_without_a_name_is_called_something() {
        let scratch = Scratch::new("nameless");
        let made = Site::init(&scratch.at("a"), None, ConflictRule::First).unwrap();
        assert!(!made.name.is_empty());
        assert_eq!(Site::open(&scratch.at("a"), Mode::ReadOnly).unwrap().name(), made.name);
    }

    #[test]
    fn init_refuses_what_is_there_and_leaves_it_as_it_was() {
        let scratch = Scratch::new("refuse");
        drop(scratch.site("a"));
        let before = listing(&scratch.0);
        let again = Site::init(&scratch.at("a"), None, ConflictRule::First);
        assert!(matches!(again, Err(InitError::Exists { .. })));
        scratch.file("b/mine.txt", b"mine");
        let other = Site::init(&scratch.at("b"), None, ConflictRule::First);
        assert!(matches!(other, Err(InitError::NotEmpty { .. })));
        let name = Site::init(&scratch.at("c"), Some("a \"name\""), ConflictRule::First);
        assert!(matches!(name, Err(InitError::Name { .. })));
        fs::remove_dir_all(scratch.at("b")).unwrap();
        assert_eq!(listing(&scratch.0), before);
    }

    #[test]
    fn a_failed_init_leaves_no_trace() {
        let scratch = Scratch::new("trace");
        // A file where a directory is needed.
        scratch.file("file", b"");
        let before = listing(&scratch.0);
        let made = Site::init(&scratch.at("file/a"), None, ConflictRule::First);
        assert!(matches!(made, Err(InitError::Directory { .. })), "{made:?}");
        assert_eq!(listing(&scratch.0), before);
    }

    #[test]
    fn a_directory_in_use_or_absent_or_newer_is_named() {
        let scratch = Scratch::new("use");
        let site = scratch.site("a");
        let second = Site::open(&scratch.at("a"), Mode::Write).err().unwrap();
        assert!(matches!(second, OpenError::InUse { .. }));
        assert!(second.to_string().contains(&scratch.at("a").display().to_string()));
        // Readers are welcome beside it.
        assert_eq!(Site::open(&scratch.at("a"), Mode::ReadOnly).unwrap().head(), site.head());
        drop(site);
        assert!(matches!(Site::open(&scratch.at("b"), Mode::Write), Err(OpenError::Absent { .. })));
        assert!(!scratch.at("b").exists());

        let text = fs::read_to_string(scratch.at("a/site.toml")).unwrap();
        fs::write(scratch.at("a/site.toml"), text.replace("format = 1", "format = 2")).unwrap();
        let newer = Site::open(&scratch.at("a"), Mode::Write).err().unwrap();
        let source = std::error::Error::source(&newer).unwrap().to_string();
        assert!(source.contains("format version 2") && source.contains("up to 1"), "{source}");
    }

    #[test]
    fn a_site_opened_to_be_read_writes_nothing() {
        let scratch = Scratch::new("readonly");
        drop(scratch.site("a"));
        let before = listing(&scratch.0);
        let site = Site::open(&scratch.at("a"), Mode::ReadOnly).unwrap();
        let file = scratch.file("f", b"x");
        assert!(site.add(vec![Source::Path(file.clone())], &AddOptions::default(), &mut |_| {}).is_err());
        assert!(site.invite(vec![]).is_err());
        assert!(site.snapshot_create(None).is_err());
        assert!(site.set_addresses(&["/ip4/1.2.3.4/tcp/5".to_owned()]).is_err());
        fs::remove_file(file).unwrap();
        assert_eq!(listing(&scratch.0), before);
    }

    #[test]
    fn addresses_and_peers_are_remembered() {
        let scratch = Scratch::new("peers");
        let site = scratch.site("a");
        let peer = SiteKey::from_seed(&[7; 32]).site_id();
        site.remember_peer(peer, "/ip4/1.1.1.1/tcp/1").unwrap();
        site.remember_peer(peer, "/ip4/2.2.2.2/tcp/2").unwrap();
        site.remember_peer(peer, "/ip4/1.1.1.1/tcp/1").unwrap();
        let peers = site.peers().unwrap();
        assert_eq!(peers.len(), 1);
        assert_eq!(peers[0].addresses, ["/ip4/1.1.1.1/tcp/1", "/ip4/2.2.2.2/tcp/2"]);
        site.forget_peer(peer).unwrap();
        assert!(site.peers().unwrap().is_empty());
        site.set_addresses(&["/ip4/9.9.9.9/tcp/9".to_owned()]).unwrap();
        assert_eq!(site.addresses().unwrap(), ["/ip4/9.9.9.9/tcp/9"]);
    }
}

mod membership {
    use super::*;

    #[test]
    fn a_ticket_admits_one_site_once() {
        let scratch = Scratch::new("ticket");
        let a = scratch.site("a");
        let ticket = a.invite(vec!["/ip4/127.0.0.1/tcp/1".to_owned()]).unwrap();
        let joined = Site::init_joining(&scratch.at("b"), Some("b"), &ticket).unwrap();
        assert_eq!(joined.federation_id, a.federation());
        assert!(matches!(a.redeem(&[0; 16], joined.site_id, "b"), Err(RedeemError::TicketUnknown)));
        assert!(matches!(a.redeem(&ticket.token, joined.site_id, "b").unwrap(), Redeemed::Admitted(_)));
        // The answer may have been lost: the one it admitted may ask again, and nobody else.
        let again = a.redeem(&ticket.token, joined.site_id, "b").unwrap();
        assert_eq!(again, Redeemed::AlreadyMember);
        let other = SiteKey::from_seed(&[9; 32]).site_id();
        let used = a.redeem(&ticket.token, other, "x").unwrap_err();
        assert!(matches!(used, RedeemError::TicketUnknown) && used.to_string().contains("used"));
        assert_eq!(a.members().unwrap().len(), 2);
        assert_eq!(a.resolve_site("b").unwrap(), joined.site_id);
        assert_eq!(a.resolve_site(&joined.site_id.to_string()[..8]).unwrap(), joined.site_id);
        assert!(matches!(a.resolve_site("c"), Err(ResolveError::UnknownSite { .. })));
    }

    #[test]
    fn a_used_ticket_stays_used_after_a_restart() {
        let scratch = Scratch::new("reused");
        let a = scratch.site("a");
        let ticket = a.invite(vec![]).unwrap();
        let open = a.invite(vec![]).unwrap();
        let (x, y) = (SiteKey::from_seed(&[1; 32]).site_id(), SiteKey::from_seed(&[2; 32]).site_id());
        a.redeem(&ticket.token, x, "x").unwrap();
        drop(a);
        let a = Site::open(&scratch.at("a"), Mode::Write).unwrap();
        assert!(matches!(a.redeem(&ticket.token, y, "y"), Err(RedeemError::TicketUnknown)));
        assert!(matches!(a.redeem(&open.token, y, "y").unwrap(), Redeemed::Admitted(_)));
    }

    #[test]
    fn a_joined_site_writes_and_both_agree() {
        let scratch = Scratch::new("join");
        let a = scratch.site("a");
        let b = join(&scratch, &a, "b");
        add(&b, &scratch.file("f", b"from b"));
        sync(&b, &a);
        assert_eq!(a.status().unwrap().state_root, b.status().unwrap().state_root);
        assert_eq!(a.status().unwrap().missing_payloads, 0);
    }

    #[test]
    fn a_federation_of_one_can_join_and_keeps_its_key() {
        let scratch = Scratch::new("rejoin");
        let (a, b) = (scratch.site("a"), scratch.site("b"));
        let before = b.site_id();
        let ticket = a.invite(vec![]).unwrap();
        assert!(matches!(Site::init_joining(&scratch.at("b"), None, &ticket), Err(InitError::InUse { .. })));
        drop(b);
        let joined = Site::init_joining(&scratch.at("b"), None, &ticket).unwrap();
        assert_eq!((joined.site_id, joined.name.as_str()), (before, "b"));
        a.redeem(&ticket.token, joined.site_id, "b").unwrap();
        let b = Site::open(&scratch.at("b"), Mode::Write).unwrap();
        sync(&a, &b);
        b.join_completed().unwrap();
        assert!(!scratch.at("b/aside").exists());
        drop(b);
        let again = Site::init_joining(&scratch.at("b"), None, &a.invite(vec![]).unwrap());
        assert!(matches!(again, Err(InitError::AlreadyMember { .. })));
    }

    #[test]
    fn a_refused_join_leaves_everything_as_it_was() {
        let scratch = Scratch::new("abandon");
        let a = scratch.site("a");
        let ticket = a.invite(vec![]).unwrap();
        Site::init_joining(&scratch.at("fresh"), None, &ticket).unwrap();
        Site::join_abandoned(&scratch.at("fresh")).unwrap();
        assert!(!scratch.at("fresh").exists());

        let root = scratch.site("b").status().unwrap().state_root;
        let before = listing(&scratch.at("b"));
        Site::init_joining(&scratch.at("b"), None, &ticket).unwrap();
        assert_eq!(Site::open(&scratch.at("b"), Mode::ReadOnly).unwrap().federation(), a.federation());
        // A second attempt, with another ticket, must not forget what is set aside.
        Site::init_joining(&scratch.at("b"), None, &a.invite(vec![]).unwrap()).unwrap();
        Site::join_abandoned(&scratch.at("b")).unwrap();
        assert_eq!(listing(&scratch.at("b")), before);
        assert_eq!(Site::open(&scratch.at("b"), Mode::ReadOnly).unwrap().status().unwrap().state_root, root);
    }

    #[test]
    fn joining_never_loses_a_history() {
        let scratch = Scratch::new("history");
        let (a, b) = (scratch.site("a"), scratch.site("b"));
        add(&b, &scratch.file("f", b"precious"));
        drop(b);
        let ticket = a.invite(vec![]).unwrap();
        let refused = Site::init_joining(&scratch.at("b"), None, &ticket).unwrap_err();
        assert!(matches!(refused, InitError::HasHistory { commits: 2, .. }), "{refused}");
        assert!(matches!(Site::join_abandoned(&scratch.at("b")), Err(InitError::HasHistory { .. })));
        assert_eq!(Site::open(&scratch.at("b"), Mode::ReadOnly).unwrap().status().unwrap().entries, 2);
    }
}

mod artifacts {
    use super::*;

    fn sample(scratch: &Scratch) -> PathBuf {
        scratch.file("in/a.txt", b"alpha");
        scratch.file("in/sub/b.txt", b"beta");
        scratch.file("in/sub/same.txt", b"alpha");
        scratch.file("in/run.sh", b"#!/bin/sh\n");
        fs::set_permissions(scratch.at("in/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(scratch.at("in/empty")).unwrap();
        fs::set_permissions(scratch.at("in/empty"), fs::Permissions::from_mode(0o555)).unwrap();
        symlink("sub/b.txt", scratch.at("in/link")).unwrap();
        scratch.at("in")
    }

    #[test]
    fn a_tree_goes_in_and_comes_out_the_same() {
        let scratch = Scratch::new("tree");
        let site = scratch.site("a");
        let dir = sample(&scratch);
        let added = add_as(&site, &dir, Some("data/sample"));
        assert_eq!((added.kind, added.files, added.bytes), (Sort::Tree, 4, 24));
        assert!(added.new_bytes > 0 && added.skipped.is_empty());
        let at = site.head();
        let target = site.resolve("data/sample", &at).unwrap();
        assert_eq!((target.key(), target.via_ref.as_deref()), (added.key, Some("data/sample")));
        let out = scratch.at("out");
        let written = site.materialise(&target, &at, &out, &mut |_, _| {}).unwrap();
        assert_eq!((written.files, written.bytes), (4, 24));
        let there = |dir: &Path| {
            let strip = |path: String| path.strip_prefix(&dir.display().to_string()).unwrap().to_owned();
            listing(dir).into_iter().map(strip).collect::<Vec<_>>()
        };
        assert_eq!(there(&out), there(&dir));
        assert_eq!(fs::read_link(out.join("link")).unwrap(), Path::new("sub/b.txt"));
        assert_eq!(fs::metadata(out.join("empty")).unwrap().permissions().mode() & 0o777, 0o555);
        // The same directory has the same key, and adding it again writes nothing.
        let again = add(&site, &out);
        assert_eq!((again.key, again.new_bytes), (added.key, 0));
        assert_eq!(site.head(), at);
        assert!(matches!(site.materialise(&target, &at, &out, &mut |_, _| {}), Err(ReadError::Exists { .. })));
    }

    #[test]
    fn paths_lead_into_trees() {
        let scratch = Scratch::new("paths");
        let site = scratch.site("a");
        let added = add_as(&site, &sample(&scratch), Some("data/sample"));
        let at = site.head();
        assert_eq!(cat(&site, "data/sample/sub/b.txt"), b"beta");
        assert_eq!(cat(&site, &format!("{}/a.txt", &added.key.to_string()[..12])), b"alpha");
        let names = |text: &str| {
            let listed = site.list_tree(&site.resolve(text, &at).unwrap()).unwrap();
            listed.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
        };
        assert_eq!(names("data/sample"), ["a.txt", "empty", "link", "run.sh", "sub"]);
        assert_eq!(names("data/sample/sub/"), ["b.txt", "same.txt"]);
        assert!(matches!(site.resolve("data/sample/no", &at), Err(ResolveError::NoEntry { .. })));
        assert!(matches!(site.resolve("data/sample/link", &at), Err(ResolveError::Symlink { .. })));
        let through = site.resolve("data/sample/a.txt/x", &at).unwrap_err();
        assert!(matches!(through, ResolveError::NotATree { sort: Sort::File, .. }), "{through}");
    }

    #[test]
    fn streams_tags_and_filters() {
        let scratch = Scratch::new("streams");
        let site = scratch.site("a");
        let reader = || Source::Reader { label: "-".to_owned(), reader: Box::leak(Box::new(&b"piped"[..])) };
        let plain = site.add(vec![reader()], &AddOptions::default(), &mut |_| {}).unwrap().remove(0);
        assert_eq!((plain.path.as_str(), plain.bytes, plain.kind), ("-", 5, Sort::File));
        let tagged = AddOptions { type_tag: Some(77), ..AddOptions::default() };
        let tagged = site.add(vec![reader()], &tagged, &mut |_| {}).unwrap().remove(0);
        assert_ne!(plain.key, tagged.key);
        assert_eq!(site.resolve(&tagged.key.to_string(), &site.head()).unwrap().type_tag, Some(77));
        let reserved = AddOptions { type_tag: Some(program::TYPE_TAG), ..AddOptions::default() };
        assert!(matches!(site.add(vec![reader()], &reserved, &mut |_| {}), Err(AddError::ReservedTag { .. })));
        let filter = |path: &Path| !path.ends_with("sub");
        let filtered = AddOptions { filter: Some(&filter), ..AddOptions::default() };
        let dir = sample(&scratch);
        let added = site.add(vec![Source::Path(dir)], &filtered, &mut |_| {}).unwrap().remove(0);
        assert_eq!(added.files, 2);
    }

    #[test]
    fn progress_grows_to_the_total_and_tells_what_is_durable() {
        let scratch = Scratch::new("progress");
        let site = scratch.site("a");
        for number in 0..17_000 {
            scratch.file(&format!("in/{number:05}"), format!("file {number}").as_bytes());
        }
        let mut told: Vec<Progress> = Vec::new();
        let added = site
            .add(vec![Source::Path(scratch.at("in"))], &AddOptions::default(), &mut |event| {
                if let AddEvent::Progress(progress) = event {
                    told.push(progress);
                }
            })
            .unwrap();
        assert!(told.windows(2).all(|pair| pair[0].bytes <= pair[1].bytes && pair[0].files <= pair[1].files));
        let last = told.last().unwrap();
        assert_eq!((last.files, last.files_total, last.records_durable), (17_000, Some(17_000), 17_001));
        assert_eq!(Some(last.bytes), last.bytes_total);
        assert_eq!(added[0].files, 17_000);
        // Two commits beside the genesis: none holds more records than a batch.
        assert_eq!(site.log(None, None).unwrap().len(), 3);
        assert!(told.iter().any(|progress| progress.records_durable == 16_384));
    }

    #[test]
    fn a_large_file_streams_and_a_change_costs_its_chunks() {
        let scratch = Scratch::new("large");
        let site = scratch.site("a");
        let mut state = 1u64;
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33).to_le_bytes()[0]
        })
        .take(24 << 20)
        .collect();
        let first = add(&site, &scratch.file("big", &bytes));
        bytes[12 << 20] ^= 1;
        let second = add(&site, &scratch.file("big", &bytes));
        assert_ne!(first.key, second.key);
        assert!(second.new_bytes < 8 << 20, "{} of {}", second.new_bytes, first.new_bytes);
        let target = site.resolve(&second.key.to_string(), &site.head()).unwrap();
        site.materialise(&target, &site.head(), &scratch.at("out"), &mut |_, _| {}).unwrap();
        assert!(fs::read(scratch.at("out")).unwrap() == bytes);
    }

    #[test]
    fn what_cannot_be_added_is_named_and_nothing_is_written() {
        let scratch = Scratch::new("wrong");
        let site = scratch.site("a");
        let before = site.head();
        let add = |paths: &[PathBuf], reference| {
            let sources = paths.iter().cloned().map(Source::Path).collect();
            site.add(sources, &AddOptions { reference, ..AddOptions::default() }, &mut |_| {}).unwrap_err()
        };
        let (file, absent) = (scratch.file("f", b"x"), scratch.at("absent"));
        let error = add(&[file.clone(), absent.clone()], None);
        assert!(matches!(&error, AddError::Read { path, .. } if *path == absent), "{error}");
        let error = add(&[PathBuf::from("/dev/null")], None);
        assert!(matches!(error, AddError::Special { .. }));
        let error = add(&[file.clone(), file.clone()], Some("name"));
        assert!(matches!(error, AddError::NameForMany { sources: 2 }));
        assert!(matches!(add(&[file], Some("deadbeef")), AddError::Name(_)));
        assert_eq!(site.head(), before);
    }

    #[test]
    fn the_own_data_directory_is_not_added_to_itself() {
        let scratch = Scratch::new("own");
        let site = scratch.site("in/data");
        scratch.file("in/f", b"x");
        let _socket = std::os::unix::net::UnixListener::bind(scratch.at("in/socket")).unwrap();
        let added = add(&site, &scratch.at("in"));
        assert_eq!(added.files, 1);
        assert_eq!(
            added.skipped,
            [scratch.at("in/data"), scratch.at("in/socket")].map(|path| path.display().to_string())
        );
    }
}

mod resolving {
    use super::*;

    #[test]
    fn ids_prefixes_and_names_are_told_apart() {
        let scratch = Scratch::new("resolve");
        let site = scratch.site("a");
        let added = add_as(&site, &scratch.file("f", b"x"), Some("data/f"));
        let (at, hex) = (site.head(), added.key.to_string());
        for text in [&hex, &hex[..8], &hex[..8].to_uppercase(), "data/f"] {
            assert_eq!(site.resolve(text, &at).unwrap().key(), added.key, "{text}");
        }
        assert!(matches!(site.resolve(&hex[..7], &at), Err(ResolveError::Short { .. })));
        let unknown = ["no/such", "", "/", "0123456789", &"0".repeat(64), &"0".repeat(65)];
        for text in unknown {
            let error = site.resolve(text, &at).unwrap_err();
            assert!(matches!(error, ResolveError::Unknown { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn an_ambiguous_prefix_lists_what_it_may_mean() {
        let scratch = Scratch::new("ambiguous");
        let site = scratch.site("a");
        // By the birthday paradox: one payload under many type tags has many keys.
        let mut seen = std::collections::BTreeMap::new();
        let payload = Payload::of(b"x");
        site.store().blocks().put_bytes(b"x").unwrap();
        let pair = (0u32..400_000).find_map(|tag| {
            let record = Record::artifact(Some(tag), payload);
            let prefix = record.id().to_string()[..8].to_owned();
            seen.insert(prefix, record.clone()).map(|other| [other, record])
        });
        let pair = pair.expect("among 400,000 ids two share their first 32 bits");
        let ids = pair.each_ref().map(Record::id);
        site.store().commit(site.key(), pair.to_vec(), 0).unwrap();
        let error = site.resolve(&ids[0].to_string()[..8], &site.head()).unwrap_err();
        assert!(matches!(&error, ResolveError::Ambiguous { candidates, more: false, .. } if candidates.len() == 2));
        for id in ids {
            assert!(error.to_string().contains(&id.to_string()), "{error}");
            assert_eq!(site.resolve(&id.to_string(), &site.head()).unwrap().id, id);
        }
        // Once one of them is removed, the prefix means the other.
        site.rm(&site.resolve(&ids[0].to_string(), &site.head()).unwrap()).unwrap();
        assert_eq!(site.resolve(&ids[0].to_string()[..8], &site.head()).unwrap().id, ids[1]);
    }

    #[test]
    fn a_wrong_kind_names_both_kinds() {
        let scratch = Scratch::new("kind");
        let site = scratch.site("a");
        let tree = add_as(&site, scratch.file("in/f", b"x").parent().unwrap(), Some("tree"));
        let file = add_as(&site, &scratch.file("g", b"y"), Some("file"));
        let at = site.head();
        let message = |text: &str| {
            let target = site.resolve(text, &at).unwrap();
            [site.open_file(&target).err(), site.list_tree(&target).err()]
                .into_iter()
                .flatten()
                .next()
                .unwrap()
                .to_string()
        };
        assert_eq!(message("tree"), "`tree` is a tree; a file is needed here");
        assert_eq!(message("file"), "`file` is a file; a tree is needed here");
        let run = site.run("file", &[], &RunOptions::default(), &mut |_| {}).unwrap_err();
        assert_eq!(run.to_string(), "`file` is a file; a program is needed here");
        let snapshot = site.at(Some("file")).unwrap_err();
        assert!(matches!(snapshot, SnapshotError::WrongKind { found: Sort::File, .. }));
        let genesis = site.resolve(&site.federation().to_string(), &at).unwrap();
        assert_eq!(genesis.sort, Sort::Genesis);
        assert!(matches!(site.rm(&genesis), Err(RemoveError::WrongKind { .. })));
        assert!(matches!(site.ref_set("x", &genesis), Err(RefError::WrongKind { .. })));
        let ends = |from: &str| EdgeDraft {
            edge_type: "t".to_owned(),
            from: vec![from.to_owned()],
            to: vec![tree.key.to_string()],
            ..EdgeDraft::default()
        };
        let edge = site.edge_add(&ends(&file.key.to_string())).unwrap();
        assert!(matches!(site.edge_add(&ends(&edge.id.to_string())), Err(EdgeError::WrongKind { .. })));
        assert!(site.receipt_show(&site.resolve("file", &at).unwrap(), &at).is_err());
    }
}

mod names {
    use super::*;

    #[test]
    fn refs_move_and_tombstones_shadow_but_older_snapshots_still_see() {
        let scratch = Scratch::new("refs");
        let site = scratch.site("a");
        let one = add_as(&site, &scratch.file("f", b"one"), Some("data/f"));
        let before = site.head();
        let two = add(&site, &scratch.file("f", b"two"));
        let target = site.resolve(&two.key.to_string(), &site.head()).unwrap();
        let set = site.ref_set("data/f", &target).unwrap();
        assert_eq!((set.previous, set.key), (Some(one.key), two.key));
        assert_eq!(site.ref_target("data/f", &before).unwrap(), Some(one.key));
        assert_eq!(site.refs(&site.head()).unwrap()[0].key, two.key);
        assert!(matches!(site.ref_set("a//b", &target), Err(RefError::Name(_))));

        // By name, the ref goes; by key, what it pointed at.
        let removed = site.rm(&site.resolve("data/f", &site.head()).unwrap()).unwrap();
        assert_eq!(removed.kind, Sort::Ref);
        assert!(site.refs(&site.head()).unwrap().is_empty());
        assert_eq!(cat(&site, &two.key.to_string()), b"two");
        site.rm(&site.resolve(&two.key.to_string(), &site.head()).unwrap()).unwrap();
        let gone = site.resolve(&two.key.to_string(), &site.head()).unwrap_err();
        assert!(matches!(gone, ResolveError::Removed { .. }), "{gone}");
        assert!(matches!(site.resolve(&two.key.to_string(), &before), Err(ResolveError::Later { .. })));
        assert_eq!(site.resolve("data/f", &before).unwrap().key(), one.key);
        // Adding it again makes it visible again.
        assert_eq!(add(&site, &scratch.at("f")).key, two.key);
        assert_eq!(cat(&site, &two.key.to_string()), b"two");
    }

    #[test]
    fn a_name_of_something_removed_says_so() {
        let scratch = Scratch::new("dangling");
        let site = scratch.site("a");
        let added = add_as(&site, &scratch.file("f", b"x"), Some("name"));
        site.rm(&site.resolve(&added.key.to_string(), &site.head()).unwrap()).unwrap();
        let error = site.resolve("name", &site.head()).unwrap_err();
        assert!(matches!(error, ResolveError::Dangling { .. }), "{error}");
        assert_eq!(site.refs(&site.head()).unwrap()[0].kind, None);
    }

    #[test]
    fn a_payload_that_has_not_arrived_is_told_from_one_that_is_unknown() {
        let scratch = Scratch::new("missing");
        let a = scratch.site("a");
        let b = join(&scratch, &a, "b");
        add_as(&a, scratch.file("in/f", b"bytes").parent().unwrap(), Some("data"));
        sync_records(&a, &b);
        let at = b.head();
        let target = b.resolve("data", &at).unwrap();
        let error = b.materialise(&target, &at, &scratch.at("out"), &mut |_, _| {}).unwrap_err();
        assert!(error.is_missing_payload(), "{error}");
        assert!(!scratch.at("out").exists());
        let before = b.status().unwrap().missing_payloads;
        assert!(before > 0);
        // Adding the same bytes here supplies what was missing.
        add(&b, &scratch.at("in"));
        assert_eq!(b.status().unwrap().missing_payloads, 0);
        assert_eq!(b.head(), at);
        assert_eq!(cat(&b, "data/f"), b"bytes");
    }
}

mod history {
    use super::*;

    #[test]
    fn the_log_lists_commits_newest_last() {
        let scratch = Scratch::new("log");
        let a = scratch.site("a");
        let b = join(&scratch, &a, "b");
        add_as(&b, &scratch.file("f", b"x"), Some("f"));
        sync(&b, &a);
        let log = a.log(None, None).unwrap();
        assert_eq!(log.iter().map(|commit| commit.logseq.0).collect::<Vec<_>>(), [1, 2, 3]);
        let last = log.last().unwrap();
        assert_eq!((last.domain, last.name.as_deref(), last.number, last.records), (b.site_id(), Some("b"), 1, 2));
        assert_eq!((last.kinds.get("artifact"), last.kinds.get("ref")), (Some(&1), Some(&1)));
        assert!(last.wall_ms > 0);
        assert_eq!(a.log(Some(a.site_id()), None).unwrap().len(), 2);
        assert_eq!(a.log(None, Some(1)).unwrap().last(), Some(last));
    }

    /// Two sites claim different outcomes for one derivation.
    fn conflict(scratch: &Scratch, rule: ConflictRule) -> (Site, Site, ArtifactKey) {
        let a = scratch.site_with("a", rule);
        let b = join(scratch, &a, "b");
        let derivation = Derivation {
            program: ArtifactKey::from_bytes([1; 32]),
            inputs: vec![],
            params: vec![],
            profile: "uor.pel/1".to_owned(),
        };
        for site in [&a, &b] {
            let outputs = vec![("out".to_owned(), ArtifactKey::from_bytes(*site.site_id().as_bytes()))];
            let outcome = Outcome { status: Ended::Ok, outputs, trace: vec![] }.encode();
            site.store().blocks().put_bytes(&outcome).unwrap();
            let record = Record::receipt(derivation.clone(), Payload::of(&outcome));
            site.store().commit(site.key(), vec![record], 0).unwrap();
        }
        sync(&a, &b);
        sync(&b, &a);
        (a, b, derivation.receipt_key())
    }

    #[test]
    fn a_conflict_is_listed_with_both_claims_until_it_is_resolved() {
        let scratch = Scratch::new("conflict");
        let (a, b, receipt) = conflict(&scratch, ConflictRule::First);
        let conflicts = a.conflicts(&a.head()).unwrap();
        assert_eq!(conflicts, b.conflicts(&b.head()).unwrap());
        let [conflict] = conflicts.as_slice() else { panic!("{conflicts:?}") };
        assert_eq!(
            conflict.claims.iter().map(|claim| claim.domain).collect::<std::collections::BTreeSet<_>>().len(),
            2
        );
        assert!(conflict.claims.iter().all(|claim| claim.hash.is_some() && claim.here));
        let at = a.head();
        let shown = a.receipt_show(&a.resolve(&receipt.to_string(), &at).unwrap(), &at).unwrap();
        assert!(shown.conflict && shown.claims.len() == 2);

        let wrong = a.resolve_conflict(&receipt.to_string(), "00000000").unwrap_err();
        assert!(matches!(&wrong, ResolutionError::NoSuchClaim { claims, .. } if claims.len() == 2), "{wrong}");
        let keep = conflict.claims[1].checksum;
        let resolved = a.resolve_conflict(&receipt.to_string()[..10], &keep.to_string()[..8]).unwrap();
        assert_eq!(resolved.keep, keep);
        assert!(a.conflicts(&a.head()).unwrap().is_empty());
        assert_eq!(a.conflicts(&at).unwrap().len(), 1);
        let target = a.resolve(&receipt.to_string(), &a.head()).unwrap();
        assert_eq!((target.checksum, target.conflict), (Some(keep), false));
        let again = a.resolve_conflict(&receipt.to_string(), &keep.to_string());
        assert!(matches!(again, Err(ResolutionError::NoConflict { .. })));
    }

    #[test]
    fn under_the_manual_rule_nothing_stands_meanwhile() {
        let scratch = Scratch::new("manual");
        let (a, _, receipt) = conflict(&scratch, ConflictRule::Manual);
        let target = a.resolve(&receipt.to_string(), &a.head()).unwrap();
        assert!(matches!(a.open_payload(&target), Err(ReadError::Withheld { .. })));
        assert_eq!(a.status().unwrap().conflicts, 1);
    }
}

mod edges {
    use super::*;

    #[test]
    fn edges_are_written_listed_traced_and_removed() {
        let scratch = Scratch::new("edges");
        let site = scratch.site("lab");
        let raw = add_as(&site, &scratch.file("raw", b"raw"), Some("raw"));
        let clean = add_as(&site, &scratch.file("clean", b"clean"), Some("clean"));
        let note = add(&site, &scratch.file("note", b"why"));
        let draft = EdgeDraft {
            edge_type: "derived".to_owned(),
            from: vec!["raw".to_owned(), "site:lab".to_owned()],
            to: vec!["clean".to_owned()],
            role: Role::To,
            attribute: Some(note.key.to_string()),
        };
        let edge = site.edge_add(&draft).unwrap();
        let at = site.head();
        let end = site.resolve_endpoint("clean", &at).unwrap();
        let listed = site.edges_of(&end, &at).unwrap();
        assert_eq!((listed.len(), listed[0].id, listed[0].role), (1, edge.id, "to"));
        assert_eq!(listed[0].attribute, Some(note.key));
        let trace = site.trace(&end, Direction::Up, None, &at).unwrap();
        assert_eq!(trace.reached.len(), 3);
        assert!(export::text(&trace, &export::Names::new()).contains(&raw.key.to_string()));
        let down = site.trace(&site.resolve_endpoint("raw", &at).unwrap(), Direction::Down, Some(1), &at).unwrap();
        assert_eq!(down.reached.last().unwrap().endpoint, end);
        assert!(matches!(
            site.resolve_endpoint("site:other", &at),
            Err(EdgeError::End(ResolveError::UnknownSite { .. }))
        ));

        site.rm(&site.resolve(&edge.id.to_string(), &at).unwrap()).unwrap();
        assert!(site.edges_of(&end, &site.head()).unwrap().is_empty());
        assert_eq!(site.edges_of(&end, &at).unwrap().len(), 1);
        assert_eq!(clean.files, 1);
        let empty = EdgeDraft { edge_type: String::new(), ..draft.clone() };
        assert!(matches!(site.edge_add(&empty), Err(EdgeError::Bounds)));
        let endless = EdgeDraft { to: vec![], ..draft };
        assert!(matches!(site.edge_add(&endless), Err(EdgeError::Bounds)));
    }
}

mod snapshots {
    use super::*;

    #[test]
    fn a_snapshot_shows_for_ever_what_it_saw() {
        let scratch = Scratch::new("snapshot");
        let site = scratch.site("a");
        add_as(&site, &scratch.file("f", b"one"), Some("f"));
        let root = site.status().unwrap().state_root;
        let created = site.snapshot_create(Some("before")).unwrap();
        assert_eq!((created.state_root, created.logseq_max.0), (root, 2));
        let (at, now) = (site.at(Some("before")).unwrap(), site.at(None).unwrap());
        assert_eq!((at.id(), now), (created.snapshot_id, site.head()));
        assert_eq!(site.at(Some("head")).unwrap(), site.head());
        add_as(&site, &scratch.file("f", b"two"), Some("f"));
        site.rm(&site.resolve("f", &site.head()).unwrap()).unwrap();

        let hex = created.snapshot_id.to_string();
        for text in ["before", &hex, &hex[..8]] {
            let shown = site.snapshot_show(text).unwrap();
            assert_eq!((shown.snapshot_id, shown.state_root, shown.entries), (created.snapshot_id, root, 3));
            assert_eq!((shown.labels.as_slice(), shown.kept), (["before".to_owned()].as_slice(), true));
            assert_eq!((shown.applied.len(), shown.domains[0].records, shown.conflicts), (3, 3, 0));
            assert!(shown.applied.is_sorted_by_key(|record| (record.logseq, record.id)));
        }
        let target = site.resolve("f", &site.at(Some("before")).unwrap()).unwrap();
        assert_eq!(site.open_file(&target).unwrap().len, 3);
        assert!(matches!(site.at(Some("nothing")), Err(SnapshotError::Unknown { .. })));
        assert!(matches!(site.snapshot_create(Some("head")), Err(SnapshotError::ReservedLabel)));
    }

    #[test]
    fn snapshots_are_listed_kept_and_dropped() {
        let scratch = Scratch::new("kept");
        let site = scratch.site("a");
        let one = site.snapshot_create(Some("one")).unwrap();
        let two = site.snapshot_create(None).unwrap();
        let listed = site.snapshots().unwrap();
        let brief: Vec<_> = listed.iter().map(|it| (it.snapshot_id, it.commits, it.kept)).collect();
        assert_eq!(brief, [(one.snapshot_id, Some(1), true), (two.snapshot_id, Some(2), true)]);
        assert_eq!(site.snapshot_drop("one").unwrap(), one.snapshot_id);
        assert!(!site.snapshot_show("one").unwrap().kept);
        assert_eq!(site.snapshot_keep(&one.snapshot_id.to_string()).unwrap(), one.snapshot_id);
        assert!(site.snapshots().unwrap().iter().all(|snapshot| snapshot.kept));
    }

    #[test]
    fn a_diff_names_what_came_went_and_changed() {
        let scratch = Scratch::new("diff");
        let site = scratch.site("a");
        let one = add_as(&site, &scratch.file("one", b"one"), Some("name"));
        site.snapshot_create(Some("a")).unwrap();
        let two = add_as(&site, &scratch.file("two", b"two"), Some("name"));
        site.rm(&site.resolve(&one.key.to_string(), &site.head()).unwrap()).unwrap();
        let diff = site.snapshot_diff("a", "head").unwrap();
        assert_eq!(diff.removed.iter().map(|entry| entry.id).collect::<Vec<_>>(), [one.key.into()]);
        assert!(diff.added.iter().any(|entry| entry.id == two.key.into() && entry.kind == Sort::File));
        assert_eq!(diff.changed.len(), 1);
        assert_eq!(diff.changed[0].after.name.as_deref(), Some("name"));
        let back = site.snapshot_diff("head", "a").unwrap();
        assert_eq!((back.added, back.removed), (diff.removed, diff.added));
        let none = site.snapshot_diff("a", "a").unwrap();
        assert!(none.added.is_empty() && none.removed.is_empty() && none.changed.is_empty());
    }

    #[test]
    fn a_snapshot_of_commits_that_are_not_here_says_which() {
        let scratch = Scratch::new("behind");
        let a = scratch.site("a");
        let b = join(&scratch, &a, "b");
        add(&a, &scratch.file("f", b"x"));
        let created = a.snapshot_create(None).unwrap();
        // The snapshot's artifact comes to `b` by hand, before the commits it speaks of.
        let payload = uor_index_format::snapshot::Snapshot {
            frontier: created.frontier.clone(),
            logseq_max: created.logseq_max,
            origin: None,
        }
        .encode();
        b.store().blocks().put_bytes(&payload).unwrap();
        let record = Record::artifact(Some(uor_index_format::snapshot::TYPE_TAG), Payload::of(&payload));
        b.store().commit(b.key(), vec![record], 0).unwrap();
        let error = b.at(Some(&created.snapshot_id.to_string())).unwrap_err();
        assert!(
            matches!(error, SnapshotError::Behind { domain, needed: 3, here: 2, .. } if domain == a.site_id()),
            "{error}"
        );
        sync(&a, &b);
        assert_eq!(b.at(Some(&created.snapshot_id.to_string())).unwrap().id(), created.snapshot_id);
    }
}

mod programs {
    use super::*;

    const TOML: &str = r#"
        inputs = ["left", "right"]

        [[node]]
        name = "both"
        op = "pel.bytes.concat/1"
        inputs = ["left", "right"]

        [[node]]
        name = "digest"
        op = "pel.bytes.hash/1"
        inputs = ["both"]

        [outputs]
        digest = "digest"
        both = "both"
    "#;

    fn inputs(left: &str, right: &Path) -> Vec<(String, Binding)> {
        vec![("left".to_owned(), Binding::Text(left.to_owned())), ("right".to_owned(), Binding::Path(right.to_owned()))]
    }

    #[test]
    fn a_program_is_checked_added_and_shown() {
        let scratch = Scratch::new("program");
        let site = scratch.site("a");
        let file = scratch.file("p.toml", TOML.as_bytes());
        let checked = Site::program_check(&file).unwrap();
        assert_eq!(checked.nodes, ["both", "digest"]);
        let added = site.program_add(&file, Some("p")).unwrap();
        assert_eq!(added.program, checked);
        let target = site.resolve("p", &site.head()).unwrap();
        assert_eq!((target.sort, target.key()), (Sort::Program, checked.key));
        let shown = site.program_show(&target).unwrap();
        assert!(shown.program == checked && shown.dot.starts_with("digraph") && shown.text.contains("digest"));
        let before = site.head();
        assert_eq!(site.program_add(&file, Some("p")).unwrap().new_bytes, 0);
        assert_eq!(site.head(), before);
    }

    #[test]
    fn an_unsound_program_is_refused_and_nothing_is_written() {
        let scratch = Scratch::new("unsound");
        let site = scratch.site("a");
        let before = site.head();
        let cycle = TOML.replace(
            r#"inputs = ["left", "right"]

        [[node]]
        name = "digest""#,
            r#"inputs = ["digest"]

        [[node]]
        name = "digest""#,
        );
        let file = scratch.file("cycle.toml", cycle.as_bytes());
        let error = site.program_add(&file, None).unwrap_err();
        assert!(matches!(error, ProgramError::Compile { .. }), "{error}");
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("cycle") && source.contains("both"), "{source}");
        let module = "[[node]]\nname = \"n\"\nop = \"pel.wasm/1\"\nmodule = \"absent.wasm\"\n[outputs]\nout = \"n\"\n";
        assert!(site.program_add(&scratch.file("absent.toml", module.as_bytes()), None).is_err());
        scratch.file("absent.wasm", b"not wasm");
        assert!(site.program_add(&scratch.at("absent.toml"), None).is_err());
        assert!(matches!(site.program_add(&scratch.at("no.toml"), None), Err(ProgramError::File { .. })));
        assert_eq!(site.head(), before);
    }

    #[test]
    fn a_run_leaves_receipts_outputs_and_edges_in_one_commit_and_is_reused() {
        let scratch = Scratch::new("run");
        let site = scratch.site("a");
        site.program_add(&scratch.file("p.toml", TOML.as_bytes()), Some("p")).unwrap();
        let left = add_as(&site, &scratch.file("left", b"left "), Some("left"));
        let right = scratch.file("right", b"right");
        add(&site, &right);
        let commits = site.log(None, None).unwrap().len();
        let ran = site.run("p", &inputs("left", &right), &RunOptions::default(), &mut |_| {}).unwrap();
        assert_eq!((ran.status, ran.executed, ran.reused, ran.conflict), ("ok", 2, 0, false));
        assert_eq!(site.log(None, None).unwrap().len(), commits + 1);
        let output = |name: &str| ran.outputs.iter().find(|(output, _)| output == name).unwrap().1;
        assert_eq!(cat(&site, &output("both").to_string()), b"left right");

        let (at, before) = (site.head(), site.head());
        let shown = site.receipt_show(&site.resolve(&ran.receipt.to_string(), &at).unwrap(), &at).unwrap();
        assert_eq!((shown.program, shown.inputs[0], shown.status), (ran.program, left.key, "ok"));
        assert_eq!(shown.trace.iter().map(|step| step.node.as_str()).collect::<Vec<_>>(), ["both", "digest"]);
        assert_eq!(shown.claims.len(), 1);
        let digest = site.resolve_endpoint(&output("digest").to_string(), &at).unwrap();
        let trace = site.trace(&digest, Direction::Up, None, &at).unwrap();
        let reached: Vec<String> = trace.reached.iter().map(|reached| reached.endpoint.to_string()).collect();
        for key in [ran.receipt, ran.program, left.key] {
            assert!(reached.contains(&key.to_string()));
        }

        let again = site.run("p", &inputs("left", &right), &RunOptions::default(), &mut |_| {}).unwrap();
        assert_eq!((again.executed, again.reused, again.receipt), (0, 2, ran.receipt));
        assert_eq!(site.head(), before);
        let recompute = RunOptions { recompute: true, ..RunOptions::default() };
        let fresh = site.run("p", &inputs("left", &right), &recompute, &mut |_| {}).unwrap();
        assert_eq!((fresh.executed, fresh.outputs), (2, ran.outputs));
        // It says nothing that this site has not said.
        assert_eq!(site.head(), before);
    }

    #[test]
    fn another_site_reuses_a_receipt_and_corroborates_when_it_computes() {
        let scratch = Scratch::new("corroborate");
        let a = scratch.site("a");
        let b = join(&scratch, &a, "b");
        a.program_add(&scratch.file("p.toml", TOML.as_bytes()), Some("p")).unwrap();
        add_as(&a, &scratch.file("left", b"l"), Some("left"));
        let right = scratch.file("right", b"r");
        let ran = a.run("p", &inputs("left", &right), &RunOptions::default(), &mut |_| {}).unwrap();
        sync(&a, &b);
        let reused = b.run("p", &inputs("left", &right), &RunOptions::default(), &mut |_| {}).unwrap();
        assert_eq!((reused.executed, reused.receipt), (0, ran.receipt));
        assert_eq!(b.head(), a.head());
        let recompute = RunOptions { recompute: true, ..RunOptions::default() };
        let ran = b.run("p", &inputs("left", &right), &recompute, &mut |_| {}).unwrap();
        assert!(!ran.conflict);
        let at = b.head();
        let shown = b.receipt_show(&b.resolve(&ran.receipt.to_string(), &at).unwrap(), &at).unwrap();
        assert_eq!(shown.claims.iter().map(|claim| claim.domain).collect::<Vec<_>>(), [a.site_id(), b.site_id()]);
        assert!(!shown.conflict);
    }

    #[test]
    fn a_module_runs_over_every_file_of_a_tree() {
        let scratch = Scratch::new("module");
        let site = scratch.site("a");
        let wasm = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pel/guests/wordcount.wasm");
        scratch.file("programs/count.wasm", &fs::read(wasm).unwrap());
        let toml = "inputs = [\"tree\"]\n[[node]]\nname = \"count\"\nop = \"pel.wasm/1\"\nmodule = \"count.wasm\"\n\
                    each = true\ninputs = [\"tree\"]\n[[node]]\nname = \"all\"\nop = \"pel.bytes.concat/1\"\n\
                    inputs = [\"count\"]\n[outputs]\ncounts = \"count\"\nall = \"all\"\n";
        site.program_add(&scratch.file("programs/p.toml", toml.as_bytes()), Some("p")).unwrap();
        scratch.file("in/a", b"one two\n");
        scratch.file("in/sub/b", b"three\nfour five\n");
        let inputs = [("tree".to_owned(), Binding::Path(scratch.at("in")))];
        let mut told = Vec::new();
        let ran = site.run("p", &inputs, &RunOptions::default(), &mut |progress| told.push(progress)).unwrap();
        assert_eq!((ran.status, ran.executed), ("ok", 2));
        assert_eq!(told.last().unwrap().executed, 4, "two files, two nodes");
        let output = |name: &str| ran.outputs.iter().find(|(output, _)| output == name).unwrap().1.to_string();
        assert_eq!(cat(&site, &output("all")), b"1 2 8\n2 3 16\n");
        assert_eq!(cat(&site, &format!("{}/sub/b", output("counts"))), b"2 3 16\n");
        // One more file costs one more execution.
        scratch.file("in/c", b"");
        told.clear();
        site.run("p", &inputs, &RunOptions::default(), &mut |progress| told.push(progress)).unwrap();
        assert_eq!((told.last().unwrap().executed, told.last().unwrap().reused), (3, 2));
        let starved = RunOptions { recompute: true, fuel: Some(10) };
        let before = site.head();
        let error = site.run("p", &inputs, &starved, &mut |_| {}).unwrap_err();
        assert!(matches!(error, RunError::Run(_)), "{error}");
        assert_eq!(site.head(), before);
    }

    #[test]
    fn operations_read_across_the_chunks_of_a_large_payload() {
        let scratch = Scratch::new("chunks");
        let site = scratch.site("a");
        let bytes: Vec<u8> =
            (0u32..3 << 20).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let added = add_as(&site, &scratch.file("big", &bytes), Some("big"));
        assert!(site.store().blocks().chunks(payload_of(&site, &added.key)).unwrap().len() > 2);
        let toml = format!(
            "inputs = [\"big\"]\n[[node]]\nname = \"cut\"\nop = \"pel.bytes.slice/1\"\noffset = 1\nlen = {}\n\
             inputs = [\"big\"]\n[outputs]\nout = \"cut\"\n",
            bytes.len() - 2
        );
        site.program_add(&scratch.file("p.toml", toml.as_bytes()), Some("p")).unwrap();
        let inputs = [("big".to_owned(), Binding::Text("big".to_owned()))];
        let ran = site.run("p", &inputs, &RunOptions::default(), &mut |_| {}).unwrap();
        assert!(cat(&site, &ran.outputs[0].1.to_string()) == bytes[1..bytes.len() - 1]);
    }

    fn payload_of(site: &Site, key: &ArtifactKey) -> uor_index_format::id::Checksum {
        site.resolve(&key.to_string(), &site.head()).unwrap().checksum.unwrap()
    }

    #[test]
    fn a_failure_is_a_receipt() {
        let scratch = Scratch::new("failure");
        let site = scratch.site("a");
        let slice = "inputs = [\"text\"]\n[[node]]\nname = \"cut\"\nop = \"pel.bytes.slice/1\"\noffset = 5\nlen = 10\n\
                     inputs = [\"text\"]\n[outputs]\nout = \"cut\"\n";
        site.program_add(&scratch.file("p.toml", slice.as_bytes()), Some("p")).unwrap();
        add_as(&site, &scratch.file("f", b"short"), Some("f"));
        let inputs = [("text".to_owned(), Binding::Text("f".to_owned()))];
        let ran = site.run("p", &inputs, &RunOptions::default(), &mut |_| {}).unwrap();
        let failure = ran.failure.unwrap();
        assert_eq!((ran.status, failure.node.as_str(), failure.kind), ("failed", "cut", "out-of-range"));
        assert!(ran.outputs.is_empty());
        let at = site.head();
        let edges = site.edges_of(&site.resolve_endpoint(&ran.receipt.to_string(), &at).unwrap(), &at).unwrap();
        assert_eq!(edges.iter().map(|edge| edge.edge_type.as_str()).collect::<Vec<_>>(), ["used"]);
    }

    #[test]
    fn wrong_inputs_of_a_run_leave_nothing() {
        let scratch = Scratch::new("inputs");
        let site = scratch.site("a");
        site.program_add(&scratch.file("p.toml", TOML.as_bytes()), Some("p")).unwrap();
        add_as(&site, &scratch.file("f", b"x"), Some("f"));
        let before = site.head();
        let text = |name: &str, text: &str| (name.to_owned(), Binding::Text(text.to_owned()));
        let run =
            |inputs: &[(String, Binding)]| site.run("p", inputs, &RunOptions::default(), &mut |_| {}).unwrap_err();
        assert!(matches!(run(&[text("left", "f")]), RunError::Run(_)));
        assert!(matches!(run(&[text("left", "f"), text("left", "f")]), RunError::InputTwice { .. }));
        assert!(matches!(run(&[text("left", "f"), text("right", "f"), text("more", "f")]), RunError::Run(_)));
        assert!(matches!(run(&[text("left", "nothing")]), RunError::Resolve(_)));
        assert_eq!(site.head(), before);
    }
}
