//! Commits, conflicts and their end.

use super::*;

#[test]
fn the_log_lists_commits_newest_last() {
    let scratch = Scratch::new("log");
    let a = scratch.site("a");
    let b = join(&scratch, &a, "b");
    add_as(&b, &scratch.file("f", b"x"), Some("f"));
    sync(&b, &a);
    let log = a.log(None, None).unwrap();
    assert_eq!(
        log.iter().map(|commit| commit.logseq.0).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let last = log.last().unwrap();
    assert_eq!(
        (last.domain, last.name.as_deref(), last.number, last.records),
        (b.site_id(), Some("b"), 1, 2)
    );
    assert_eq!(
        (last.kinds.get("artifact"), last.kinds.get("ref")),
        (Some(&1), Some(&1))
    );
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
        let outputs = vec![(
            "out".to_owned(),
            ArtifactKey::from_bytes(*site.site_id().as_bytes()),
        )];
        let outcome = Outcome {
            status: Ended::Ok,
            outputs,
            trace: vec![],
        }
        .encode();
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
    let [conflict] = conflicts.as_slice() else {
        panic!("{conflicts:?}")
    };
    assert_eq!(
        conflict
            .claims
            .iter()
            .map(|claim| claim.domain)
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        2
    );
    assert!(
        conflict
            .claims
            .iter()
            .all(|claim| claim.hash.is_some() && claim.here)
    );
    let at = a.head();
    let shown = a
        .receipt_show(&a.resolve(&receipt.to_string(), &at).unwrap(), &at)
        .unwrap();
    assert!(shown.conflict && shown.claims.len() == 2);

    let wrong = a
        .resolve_conflict(&receipt.to_string(), "00000000")
        .unwrap_err();
    assert!(
        matches!(&wrong, ResolutionError::NoSuchClaim { claims, .. } if claims.len() == 2),
        "{wrong}"
    );
    let keep = conflict.claims[1].checksum;
    let resolved = a
        .resolve_conflict(&receipt.to_string()[..10], &keep.to_string()[..8])
        .unwrap();
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
    assert!(matches!(
        a.open_payload(&target),
        Err(ReadError::Withheld { .. })
    ));
    assert_eq!(a.status().unwrap().conflicts, 1);
}
