//! Edges, and what they say about where something came from.

use serde::Serialize;
use uor_asl::state::ReadError as StateError;
use uor_asl::store::CommitError;
use uor_index_format::edge::{EDGE_TYPE_LEN_MAX, ENDPOINTS_MAX, Edge, Endpoint, Role};
use uor_index_format::id::{ArtifactKey, CanonicalId, LogSeq};
use uor_index_format::record::Record;
use uor_index_format::snapshot::Snapshot;
use uor_tgk::graph::{Graph, PlacedEdge};
use uor_tgk::trace::{Direction, Trace, trace};

use super::resolve::ResolveError;
use super::sort::Sort;
use crate::site::handle::Site;
use crate::site::json;

/// What a site is called where an end of an edge is wanted: `site:NAME`.
const SITE_PREFIX: &str = "site:";

/// An edge to be added; ends and attribute as a person types them (an end may be `site:NAME`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EdgeDraft {
    /// Its type, such as `derived-from`.
    pub edge_type: String,
    /// Where it starts.
    pub from: Vec<String>,
    /// Where it ends.
    pub to: Vec<String>,
    /// Which side it speaks for.
    pub role: Role,
    /// An artifact that says more.
    pub attribute: Option<String>,
}

/// An edge that was added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EdgeAdded {
    /// The edge's id.
    #[serde(serialize_with = "json::text")]
    pub id: CanonicalId,
    /// When.
    #[serde(serialize_with = "json::logseq")]
    pub logseq: LogSeq,
}

/// One visible edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EdgeListed {
    /// Its id.
    #[serde(serialize_with = "json::text")]
    pub id: CanonicalId,
    /// Its type.
    #[serde(rename = "type")]
    pub edge_type: String,
    /// Where it starts.
    #[serde(serialize_with = "json::texts")]
    pub from: Vec<Endpoint>,
    /// Where it ends.
    #[serde(serialize_with = "json::texts")]
    pub to: Vec<Endpoint>,
    /// `from`, `to` or `both`.
    pub role: &'static str,
    /// An artifact that says more.
    #[serde(serialize_with = "json::text_option")]
    pub attribute: Option<ArtifactKey>,
    /// When it was last written.
    #[serde(serialize_with = "json::logseq")]
    pub logseq: LogSeq,
}

impl EdgeListed {
    fn of(placed: &PlacedEdge) -> Self {
        let Edge {
            edge_type,
            from,
            to,
            role,
            attribute,
        } = placed.edge.clone();
        let (id, logseq) = (placed.place.id, placed.place.logseq);
        Self {
            id,
            edge_type,
            from,
            to,
            role: role.name(),
            attribute,
            logseq,
        }
    }
}

/// Why an edge was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EdgeError {
    /// An end or the attribute means nothing here.
    #[error(transparent)]
    End(#[from] ResolveError),
    /// Edges join artifacts, receipts and sites.
    #[error("`{text}` is {}; an edge joins artifacts, receipts and sites (`{SITE_PREFIX}NAME`)", found.with_article())]
    WrongKind {
        /// The text as it was given.
        text: String,
        /// What it is.
        found: Sort,
    },
    /// The type or the number of ends is out of bounds.
    #[error(
        "an edge has a type of 1 to {EDGE_TYPE_LEN_MAX} bytes and 1 to {ENDPOINTS_MAX} ends on each side"
    )]
    Bounds,
    /// It could not be written.
    #[error("could not write the edge")]
    Commit(#[from] CommitError),
}

impl Site {
    /// Writes an edge.
    ///
    /// # Errors
    /// [`EdgeError`].
    pub fn edge_add(&self, draft: &EdgeDraft) -> Result<EdgeAdded, EdgeError> {
        let at = self.head();
        let ends = |texts: &[String]| {
            texts
                .iter()
                .map(|text| self.resolve_endpoint(text, &at))
                .collect::<Result<Vec<_>, _>>()
        };
        let attribute = draft
            .attribute
            .as_deref()
            .map(|text| self.end_key(text, &at))
            .transpose()?;
        let edge = Edge {
            edge_type: draft.edge_type.clone(),
            from: ends(&draft.from)?,
            to: ends(&draft.to)?,
            role: draft.role,
            attribute,
        };
        if !edge.is_valid() || edge.edge_type.chars().any(char::is_control) {
            return Err(EdgeError::Bounds);
        }
        let id = edge.id();
        let logseq = self.commit(vec![Record::edge(edge)])?.logseq;
        Ok(EdgeAdded { id, logseq })
    }

    /// The end of an edge that a person means: `site:NAME`, `site:ID`, or whatever
    /// [`Site::resolve`] takes.
    ///
    /// # Errors
    /// [`EdgeError::End`] or [`EdgeError::WrongKind`].
    pub fn resolve_endpoint(&self, text: &str, at: &Snapshot) -> Result<Endpoint, EdgeError> {
        match text.strip_prefix(SITE_PREFIX) {
            Some(site) => Ok(Endpoint::Site(self.resolve_site(site)?)),
            None => Ok(Endpoint::Artifact(self.end_key(text, at)?)),
        }
    }

    fn end_key(&self, text: &str, at: &Snapshot) -> Result<ArtifactKey, EdgeError> {
        let target = self.resolve(text, at)?;
        if !target.sort.has_payload() {
            return Err(EdgeError::WrongKind {
                text: text.to_owned(),
                found: target.sort,
            });
        }
        Ok(target.key())
    }

    /// Visible edges that touch an endpoint, in the one order.
    ///
    /// # Errors
    /// [`StateError`] if the state cannot be read.
    pub fn edges_of(
        &self,
        endpoint: &Endpoint,
        at: &Snapshot,
    ) -> Result<Vec<EdgeListed>, StateError> {
        Ok(self
            .graph(at)?
            .touching(endpoint)
            .map(EdgeListed::of)
            .collect())
    }

    /// What something came from, or what came from it, over at most `depth_max` edges.
    /// `uor_tgk::export` renders it.
    ///
    /// # Errors
    /// [`StateError`] if the state cannot be read.
    pub fn trace(
        &self,
        start: &Endpoint,
        direction: Direction,
        depth_max: Option<u32>,
        at: &Snapshot,
    ) -> Result<Trace, StateError> {
        Ok(trace(&self.graph(at)?, *start, direction, depth_max))
    }

    fn graph(&self, at: &Snapshot) -> Result<Graph, StateError> {
        Graph::at(self.store.view().state(), at)
    }
}
