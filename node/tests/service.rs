//! Real nodes over loopback: joining by ticket, replication, a network cut with writes on both
//! sides, refusals.
#[path = "service/running.rs"]
mod running;

use std::sync::Arc;
use std::sync::mpsc::channel;

use uor_asl::disk::Mode;
use uor_index_format::id::ArtifactKey;
use uor_index_format::membership::ConflictRule;
use uor_index_format::record::Record;
use uor_node::service::{self, JoinError, ServiceEvent};
use uor_node::site::Site;

use self::running::{PATIENCE, Running, agree, directory};

#[test]
fn three_sites_join_replicate_part_and_agree_again() {
    let root = tempfile::tempdir().unwrap();
    let (sender, events) = channel();
    Site::init(&directory(root.path(), "a"), Some("a"), ConflictRule::First).unwrap();
    let a = Running::start(&directory(root.path(), "a"), &sender);
    for name in ["b", "c"] {
        let ticket = a.site.invite(vec![a.address.clone()]).unwrap();
        let dir = directory(root.path(), name);
        let joined = service::join(&dir, Some(name), &ticket, &[]).unwrap();
        assert_eq!(joined.federation_id, a.site.federation());
        let again = service::join(
            &directory(root.path(), "thief"),
            Some("thief"),
            &ticket,
            &[],
        );
        assert!(
            matches!(again, Err(JoinError::Refused(_))),
            "a ticket works once: {again:?}"
        );
        assert!(
            !directory(root.path(), "thief").exists(),
            "a refused join leaves no trace"
        );
    }
    let b = Running::start(&directory(root.path(), "b"), &sender);
    let c = Running::start(&directory(root.path(), "c"), &sender);

    let long: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let (small, large) = (a.put(b"small"), a.put(&long));
    let key = ArtifactKey::from(large.id());
    a.write(vec![small, large, a.name("data/large", key)]);
    agree(&[&a, &b, &c], &events);
    let head = c.site.head();
    let copy = c
        .site
        .store()
        .payload(&key, &head, u64::MAX)
        .unwrap()
        .unwrap();
    assert!(copy == long, "a payload of several parts arrives whole");

    c.handle.cut(true);
    let (here, there) = (a.put(b"written at a"), c.put(b"written at c"));
    a.write(vec![a.name("data/x", ArtifactKey::from(here.id())), here]);
    c.write(vec![c.name("data/x", ArtifactKey::from(there.id())), there]);
    c.write(vec![Record::tombstone(key.into())]);
    agree(&[&a, &b], &events);
    assert_ne!(a.site.head(), c.site.head(), "the network is cut");
    c.handle.cut(false);
    agree(&[&a, &b, &c], &events);
    let head = a.site.head();
    assert!(
        b.site
            .store()
            .view()
            .state()
            .entry(&key.into(), &head)
            .unwrap()
            .is_none(),
        "the tombstone has arrived"
    );

    [a, b, c].into_iter().for_each(Running::stop);
}

#[test]
fn a_site_of_another_federation_is_told_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (sender, events) = channel();
    for name in ["a", "stranger"] {
        Site::init(
            &directory(root.path(), name),
            Some(name),
            ConflictRule::First,
        )
        .unwrap();
    }
    let a = Running::start(&directory(root.path(), "a"), &sender);
    let stranger = Running::start_with(
        &directory(root.path(), "stranger"),
        &sender,
        vec![a.address.clone()],
    );
    // It is told of an address where a member of another federation answers: nothing is said to it,
    // and that is said here.
    let parted = |event: ServiceEvent| matches!(event, ServiceEvent::Notice(text) if text.contains("is not a member"));
    while !parted(events.recv_timeout(PATIENCE).unwrap()) {}
    assert_eq!(
        stranger.site.members().unwrap().len(),
        1,
        "nothing has crossed over"
    );
    assert_eq!(
        a.site.members().unwrap().len(),
        1,
        "nothing has crossed over"
    );
    stranger.stop();
    a.stop();
}

#[test]
fn a_node_that_cannot_reach_its_inviter_says_so_and_leaves_no_trace() {
    let root = tempfile::tempdir().unwrap();
    let dir = directory(root.path(), "a");
    Site::init(&dir, Some("a"), ConflictRule::First).unwrap();
    let site = Site::open(&dir, Mode::Write).unwrap();
    let peer = uor_node::net::peer_id(site.site_id().as_bytes());
    let nobody = format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}");
    let ticket = site.invite(vec![nobody]).unwrap();
    let joined = service::join(&directory(root.path(), "b"), Some("b"), &ticket, &[]);
    assert!(
        matches!(joined, Err(JoinError::Unreachable { .. })),
        "{joined:?}"
    );
    assert!(!directory(root.path(), "b").exists());
    let nowhere = site.invite(vec![]).unwrap();
    assert!(matches!(
        service::join(&directory(root.path(), "b"), None, &nowhere, &[]),
        Err(JoinError::NoAddress)
    ));
}

#[test]
fn an_auditor_pulls_a_replica_with_a_members_word_and_nobody_without() {
    let root = tempfile::tempdir().unwrap();
    let (sender, _events) = channel();
    for name in ["a", "stranger"] {
        Site::init(
            &directory(root.path(), name),
            Some(name),
            ConflictRule::First,
        )
        .unwrap();
    }
    let a = Running::start(&directory(root.path(), "a"), &sender);
    let long: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    let record = a.put(&long);
    let key = ArtifactKey::from(record.id());
    a.write(vec![a.name("data/large", key), record]);

    let pull = |voucher: &Site| {
        let disk = Arc::new(uor_asl::disk::memory::MemoryDisk::new());
        service::replica(
            &a.address,
            a.site.federation(),
            voucher.key(),
            disk,
            &mut |_, _| {},
        )
    };
    let replica = pull(&a.site).unwrap();
    let (theirs, ours) = (a.site.store().view(), replica.view());
    assert_eq!(ours.head(), theirs.head());
    assert_eq!(ours.state().root(), theirs.state().root());
    assert!(ours.wanted().is_empty(), "every payload has come");
    assert_eq!(theirs.members().len(), 1, "an auditor is no member");
    drop((theirs, ours));
    assert!(
        replica
            .payload(&key, &a.site.head(), u64::MAX)
            .unwrap()
            .unwrap()
            == long
    );

    let stranger = Site::open(&directory(root.path(), "stranger"), Mode::Write).unwrap();
    let refused = pull(&stranger).err().unwrap();
    assert!(
        matches!(refused, service::ReplicaError::Refused { .. }),
        "{refused:?}"
    );
    a.stop();
}
