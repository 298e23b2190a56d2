//! Joining, and what members exchange.

use super::*;

#[test]
fn a_name_that_two_sites_have_is_shown_with_their_ids() {
    let scratch = Scratch::new("namesakes");
    let a = scratch.site("a");
    let b = join(&scratch, &a, "b");
    let again = |name: &str, dir: &str| {
        let ticket = a.invite(vec![]).unwrap();
        let joined = Site::init_joining(&scratch.at(dir), Some(name), &ticket).unwrap();
        a.redeem(&ticket.token, joined.site_id, name).unwrap();
        joined.site_id
    };
    let other = again("b", "other");
    let names = a.shown_names().unwrap();
    assert_eq!(names[&a.site_id()], "a");
    for site in [b.site_id(), other] {
        assert_eq!(names[&site], format!("b ({})", site.short()));
    }
    assert!(matches!(
        a.resolve_site("b"),
        Err(ResolveError::Ambiguous { .. })
    ));
    assert_eq!(a.resolve_site(&other.to_string()[..8]).unwrap(), other);
    add(&b, &scratch.file("f", b"x"));
    sync(&b, &a);
    let log = a.log(Some(b.site_id()), None).unwrap();
    assert_eq!(log[0].name.as_ref(), Some(&names[&b.site_id()]));
}

#[test]
fn a_ticket_admits_one_site_once() {
    let scratch = Scratch::new("ticket");
    let a = scratch.site("a");
    let ticket = a.invite(vec!["/ip4/127.0.0.1/tcp/1".to_owned()]).unwrap();
    let joined = Site::init_joining(&scratch.at("b"), Some("b"), &ticket).unwrap();
    assert_eq!(joined.federation_id, a.federation());
    assert!(matches!(
        a.redeem(&[0; 16], joined.site_id, "b"),
        Err(RedeemError::TicketUnknown)
    ));
    assert!(matches!(
        a.redeem(&ticket.token, joined.site_id, "b").unwrap(),
        Redeemed::Admitted(_)
    ));
    // The answer may have been lost: the one it admitted may ask again, and nobody else.
    let again = a.redeem(&ticket.token, joined.site_id, "b").unwrap();
    assert_eq!(again, Redeemed::AlreadyMember);
    let other = SiteKey::from_seed(&[9; 32]).site_id();
    let used = a.redeem(&ticket.token, other, "x").unwrap_err();
    assert!(matches!(used, RedeemError::TicketUnknown) && used.to_string().contains("used"));
    assert_eq!(a.members().unwrap().len(), 2);
    assert_eq!(a.resolve_site("b").unwrap(), joined.site_id);
    assert_eq!(
        a.resolve_site(&joined.site_id.to_string()[..8]).unwrap(),
        joined.site_id
    );
    assert!(matches!(
        a.resolve_site("c"),
        Err(ResolveError::UnknownSite { .. })
    ));
}

#[test]
fn a_used_ticket_stays_used_after_a_restart() {
    let scratch = Scratch::new("reused");
    let a = scratch.site("a");
    let ticket = a.invite(vec![]).unwrap();
    let open = a.invite(vec![]).unwrap();
    let (x, y) = (
        SiteKey::from_seed(&[1; 32]).site_id(),
        SiteKey::from_seed(&[2; 32]).site_id(),
    );
    a.redeem(&ticket.token, x, "x").unwrap();
    drop(a);
    let a = Site::open(&scratch.at("a"), Mode::Write).unwrap();
    assert!(matches!(
        a.redeem(&ticket.token, y, "y"),
        Err(RedeemError::TicketUnknown)
    ));
    assert!(matches!(
        a.redeem(&open.token, y, "y").unwrap(),
        Redeemed::Admitted(_)
    ));
}

#[test]
fn a_joined_site_writes_and_both_agree() {
    let scratch = Scratch::new("join");
    let a = scratch.site("a");
    let b = join(&scratch, &a, "b");
    add(&b, &scratch.file("f", b"from b"));
    sync(&b, &a);
    assert_eq!(
        a.status().unwrap().state_root,
        b.status().unwrap().state_root
    );
    assert_eq!(a.status().unwrap().missing_payloads, 0);
}

#[test]
fn a_federation_of_one_can_join_and_keeps_its_key() {
    let scratch = Scratch::new("rejoin");
    let (a, b) = (scratch.site("a"), scratch.site("b"));
    let before = b.site_id();
    let ticket = a.invite(vec![]).unwrap();
    assert!(matches!(
        Site::init_joining(&scratch.at("b"), None, &ticket),
        Err(InitError::InUse { .. })
    ));
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
    assert_eq!(
        Site::open(&scratch.at("b"), Mode::ReadOnly)
            .unwrap()
            .federation(),
        a.federation()
    );
    // A second attempt, with another ticket, must not forget what is set aside.
    Site::init_joining(&scratch.at("b"), None, &a.invite(vec![]).unwrap()).unwrap();
    Site::join_abandoned(&scratch.at("b")).unwrap();
    assert_eq!(listing(&scratch.at("b")), before);
    assert_eq!(
        Site::open(&scratch.at("b"), Mode::ReadOnly)
            .unwrap()
            .status()
            .unwrap()
            .state_root,
        root
    );
}

#[test]
fn joining_never_loses_a_history() {
    let scratch = Scratch::new("history");
    let (a, b) = (scratch.site("a"), scratch.site("b"));
    add(&b, &scratch.file("f", b"precious"));
    drop(b);
    let ticket = a.invite(vec![]).unwrap();
    let refused = Site::init_joining(&scratch.at("b"), None, &ticket).unwrap_err();
    assert!(
        matches!(refused, InitError::HasHistory { commits: 2, .. }),
        "{refused}"
    );
    assert!(matches!(
        Site::join_abandoned(&scratch.at("b")),
        Err(InitError::HasHistory { .. })
    ));
    assert_eq!(
        Site::open(&scratch.at("b"), Mode::ReadOnly)
            .unwrap()
            .status()
            .unwrap()
            .entries,
        2
    );
}
