//! The summary of the property graph
//! (<https://docs.aws.amazon.com/neptune/latest/userguide/neptune-graph-summary.html>). Neptune computes
//! it from time to time; here it is computed from the graph as it is now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::sigv4;

/// Nodes by their labels, property names and types of outgoing edges.
pub(super) const NODES: &str = "MATCH (n) OPTIONAL MATCH (n)-[r]->() \
    WITH n, collect(DISTINCT type(r)) AS edges \
    RETURN labels(n) AS labels, keys(n) AS keys, edges, count(*) AS count";
/// Edges by their type and property names.
pub(super) const EDGES: &str =
    "MATCH ()-[r]->() RETURN [type(r)] AS labels, keys(r) AS keys, [] AS edges, count(*) AS count";

/// Nodes, or edges, that have the same labels and property names.
struct Structure {
    labels: BTreeSet<String>,
    properties: BTreeSet<String>,
    outgoing: BTreeSet<String>,
    count: u64,
}

impl Structure {
    /// A row of [`NODES`] or [`EDGES`].
    fn of(row: &Value) -> Self {
        let texts = |name: &str| {
            let values = row[name].as_array().into_iter().flatten();
            values.filter_map(Value::as_str).map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let mut properties = texts("keys");
        properties.remove("~id");
        let count = row["count"].as_u64().unwrap_or_default();
        Self { labels: texts("labels"), properties, outgoing: texts("edges"), count }
    }
}

/// The body of the answer, from the rows of [`NODES`] and [`EDGES`].
pub(super) fn summary(nodes: &[Value], edges: &[Value], detailed: bool, now: SystemTime) -> String {
    let nodes: Vec<Structure> = nodes.iter().map(Structure::of).collect();
    let edges: Vec<Structure> = edges.iter().map(Structure::of).collect();
    let (node_labels, edge_labels) = (labels(&nodes), labels(&edges));
    let (node_properties, edge_properties) = (properties(&nodes), properties(&edges));
    let total = |properties: &BTreeMap<&str, u64>| properties.values().sum::<u64>();
    let list = |properties: &BTreeMap<&str, u64>| {
        properties.iter().map(|(name, count)| json!({ *name: count })).collect::<Vec<_>>()
    };
    let mut graph = json!({
        "numNodes": count(&nodes),
        "numEdges": count(&edges),
        "numNodeLabels": node_labels.len(),
        "numEdgeLabels": edge_labels.len(),
        "nodeLabels": node_labels,
        "edgeLabels": edge_labels,
        "numNodeProperties": node_properties.len(),
        "numEdgeProperties": edge_properties.len(),
        "nodeProperties": list(&node_properties),
        "edgeProperties": list(&edge_properties),
        "totalNodePropertyValues": total(&node_properties),
        "totalEdgePropertyValues": total(&edge_properties),
    });
    if detailed {
        let structures = |of: &[Structure], name: &str| {
            let each = of.iter().map(|one| json!({ "count": one.count, name: one.properties }));
            each.collect::<Vec<_>>()
        };
        let mut with_edges = structures(&nodes, "nodeProperties");
        for (shown, node) in with_edges.iter_mut().zip(&nodes) {
            shown["distinctOutgoingEdgeLabels"] = json!(node.outgoing);
        }
        graph["nodeStructures"] = with_edges.into();
        graph["edgeStructures"] = structures(&edges, "edgeProperties").into();
    }
    let payload = json!({
        "version": "v1",
        "lastStatisticsComputationTime": sigv4::iso8601(now),
        "graphSummary": graph,
    });
    json!({ "status": "200 OK", "payload": payload }).to_string()
}

fn count(structures: &[Structure]) -> u64 {
    structures.iter().map(|structure| structure.count).sum()
}

fn labels(structures: &[Structure]) -> BTreeSet<&str> {
    structures.iter().flat_map(|structure| &structure.labels).map(String::as_str).collect()
}

/// How many nodes or edges have each property.
fn properties(structures: &[Structure]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for structure in structures {
        for name in &structure.properties {
            *counts.entry(name.as_str()).or_default() += structure.count;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_become_labels_and_counts() {
        let nodes = [
            json!({ "labels": ["A", "B"], "keys": ["x", "~id"], "edges": ["E"], "count": 2 }),
            json!({ "labels": ["B"], "keys": ["x", "y"], "edges": [], "count": 3 }),
        ];
        let edges = [json!({ "labels": ["E"], "keys": ["w"], "edges": [], "count": 4 })];
        let body = summary(&nodes, &edges, true, SystemTime::UNIX_EPOCH);
        let body: Value = serde_json::from_str(&body).unwrap();
        let payload = &body["payload"];
        assert_eq!(payload["lastStatisticsComputationTime"], "1970-01-01T00:00:00Z");
        assert_eq!(
            payload["graphSummary"],
            json!({
                "numNodes": 5, "numEdges": 4, "numNodeLabels": 2, "numEdgeLabels": 1,
                "nodeLabels": ["A", "B"], "edgeLabels": ["E"],
                "numNodeProperties": 2, "numEdgeProperties": 1,
                "nodeProperties": [{ "x": 5 }, { "y": 3 }], "edgeProperties": [{ "w": 4 }],
                "totalNodePropertyValues": 8, "totalEdgePropertyValues": 4,
                "nodeStructures": [
                    { "count": 2, "nodeProperties": ["x"], "distinctOutgoingEdgeLabels": ["E"] },
                    { "count": 3, "nodeProperties": ["x", "y"], "distinctOutgoingEdgeLabels": [] },
                ],
                "edgeStructures": [{ "count": 4, "edgeProperties": ["w"] }],
            })
        );
        let basic = summary(&[], &[], false, SystemTime::UNIX_EPOCH);
        assert!(!basic.contains("Structures") && basic.contains("\"nodeLabels\":[]"), "{basic}");
    }
}
