//! Edges, and what comes of what.

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
    assert_eq!(
        (listed.len(), listed[0].id, listed[0].role),
        (1, edge.id, "to")
    );
    assert_eq!(listed[0].attribute, Some(note.key));
    let trace = site.trace(&end, Direction::Up, None, &at).unwrap();
    assert_eq!(trace.reached.len(), 3);
    assert!(export::text(&trace, &export::Names::new()).contains(&raw.key.to_string()));
    let down = site
        .trace(
            &site.resolve_endpoint("raw", &at).unwrap(),
            Direction::Down,
            Some(1),
            &at,
        )
        .unwrap();
    assert_eq!(down.reached.last().unwrap().endpoint, end);
    assert!(matches!(
        site.resolve_endpoint("site:other", &at),
        Err(EdgeError::End(ResolveError::UnknownSite { .. }))
    ));

    site.rm(
        &site.resolve(&edge.id.to_string(), &at).unwrap(),
        &mut |_| {},
    )
    .unwrap();
    assert!(site.edges_of(&end, &site.head()).unwrap().is_empty());
    assert_eq!(site.edges_of(&end, &at).unwrap().len(), 1);
    assert_eq!(clean.files, 1);
    let empty = EdgeDraft {
        edge_type: String::new(),
        ..draft.clone()
    };
    assert!(matches!(site.edge_add(&empty), Err(EdgeError::Bounds)));
    let endless = EdgeDraft {
        to: vec![],
        ..draft
    };
    assert!(matches!(site.edge_add(&endless), Err(EdgeError::Bounds)));
}
