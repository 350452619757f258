//! What the Neptune gate answers, where clients rely on Neptune's own form: paths, ids, names of columns,
//! plans and the summary.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use crate::common;

use common::cluster::{FORM, QUERY, start};
use common::https::Signer;
use common::{text, with_env_sourced};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// The parts run in turn on one cluster, whose engine is slow to start.
#[tokio::test]
async fn answers_have_neptunes_form() {
    let (cluster, folder) = start(|options| options).await;
    let signer = Signer::new(&cluster.variables());
    paths_may_have_more_slashes(&signer).await;
    what_is_to_be_explained_is_not_run(&signer).await;
    each_clients_own_form_is_understood(&signer).await;
    let empty = get(&signer, "/propertygraph/statistics/summary").await;
    assert_eq!(empty["payload"]["graphSummary"]["numNodes"], 0);
    rows(
        &signer,
        "CREATE (:Person {`~id`: 'ann', name: 'Ann'})-[:KNOWS {since: 1}]->(b:Person {name: 'Bob'}) \
         CREATE (b)-[:LIKES {`~id`: 'bob-likes'}]->(:Thing {name: 'x'})",
    )
    .await;
    ids_are_the_same_text_everywhere(&signer).await;
    the_only_column_keeps_its_name(&signer).await;
    words_that_are_no_clauses_need_no_right_to_write(&signer).await;
    the_summary_has_labels_and_counts(&signer).await;
    boto3_reads_the_summary_and_asks_for_a_schema(folder.path()).await;
    cluster.stop().await.unwrap();
}

async fn get(signer: &Signer, path: &str) -> Value {
    let (status, body) = signer.send(&signer.sign("GET", path, None, "")).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

async fn post(signer: &Signer, path: &str, pairs: &[(&str, &str)]) -> (u16, String) {
    let pairs = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    let body = pairs.collect::<Vec<_>>().join("&");
    signer.send(&signer.sign("POST", path, FORM, &body)).await
}

/// The rows of an openCypher query.
async fn rows(signer: &Signer, query: &str) -> Value {
    let (status, body) = post(signer, "/openCypher", &[("query", query)]).await;
    assert_eq!(status, 200, "{query}: {body}");
    serde_json::from_str::<Value>(&body).unwrap()["results"].take()
}

async fn paths_may_have_more_slashes(signer: &Signer) {
    let ask = "query=ASK%20%7B%7D";
    for (method, path, body) in [
        ("GET", "/status/", ""),
        ("GET", "//status", ""),
        ("POST", "/openCypher/", QUERY),
        ("POST", "/opencypher/", QUERY),
        ("POST", "//openCypher", QUERY),
        ("POST", "/sparql/", ask),
        ("POST", "//sparql", ask),
        ("POST", "//sparql/", ask),
        ("GET", "/openCypher/status/", ""),
        ("POST", "/openCypher/status/", ""),
        ("POST", "/openCypher/status", ""),
        ("GET", "/opencypher//status", ""),
        ("GET", "/sparql/status/", ""),
    ] {
        let raw = signer.sign(method, path, FORM, body);
        let (status, answer) = signer.send(&raw).await;
        assert_eq!(status, 200, "{method} {path}: {answer}");
        // The signature is of this path: another one with the same meaning has another.
        let mut other = raw.clone();
        other.target = path.trim_end_matches('/').to_lowercase();
        if other.target.trim_start_matches('/') != path.trim_start_matches('/') {
            assert_eq!(signer.send(&other).await.0, 403, "{path} as {}", other.target);
        }
    }
    for path in ["/status/x", "/sparql/x", "/x/status", "/propertygraph", "/pg/statistics"] {
        let (status, _) = signer.send(&signer.sign("GET", path, None, "")).await;
        assert_eq!(status, 404, "{path}");
    }
}

/// The forms in which boto3, graph-notebook, the servers of MCP and awscurl send requests.
async fn each_clients_own_form_is_understood(signer: &Signer) {
    const JSON: Option<&str> = Some("application/json");
    let cypher = "query=RETURN%20%24a%20AS%20n&parameters=%7B%22a%22%3A1%7D";
    let as_text = r#"{"query": "RETURN $a AS n", "parameters": "{\"a\": 1}"}"#;
    let as_object = r#"{"query": "RETURN $a AS n", "parameters": {"a": 1}}"#;
    let sparql = "query=SELECT%20%281%20AS%20%3Fn%29%20%7B%7D";
    for (method, path, content_type, body, expected) in [
        ("POST", "/opencypher", JSON, as_text, r#"{"n":1}"#),
        ("POST", "/opencypher", JSON, as_object, r#"{"n":1}"#),
        ("POST", "/openCypher", FORM, cypher, r#"{"n":1}"#),
        ("GET", "/openCypher", JSON, as_text, r#"{"n":1}"#),
        ("GET", "/openCypher", JSON, cypher, r#"{"n":1}"#),
        ("GET", &format!("/openCypher?{cypher}"), None, "", r#"{"n":1}"#),
        ("POST", "//sparql", FORM, sparql, "bindings"),
        ("GET", &format!("/sparql?{sparql}"), None, "", "bindings"),
        ("POST", "/sparql", JSON, sparql, "<binding"),
        ("GET", "/sparql", JSON, sparql, "<binding"),
        ("POST", "/openCypher/status", FORM, "includeWaiting=true", "acceptedQueryCount"),
        ("GET", "/opencypher/status?includeWaiting=true", None, "", "acceptedQueryCount"),
        ("DELETE", "/opencypher/status/x?silent=true", None, "", "200 OK"),
        ("POST", "/openCypher/status", FORM, "cancelQuery&queryId=x&silent=true", "200 OK"),
        ("GET", "/sparql/status?cancelQuery&queryId=x&silent=true", None, "", "200 OK"),
    ] {
        let mut raw = signer.sign(method, path, content_type, body);
        if content_type == JSON {
            // awscurl's.
            raw.headers.push(("accept".into(), "application/xml".into()));
        }
        let (status, answer) = signer.send(&raw).await;
        let answer = answer.replace([' ', '\n'], "");
        let expected = expected.replace(' ', "");
        assert!(
            status == 200 && answer.contains(&expected),
            "{method} {path} {body}: {status} {answer}"
        );
    }
}

async fn what_is_to_be_explained_is_not_run(signer: &Signer) {
    for mode in ["static", "dynamic", "details", ""] {
        for (path, name, text) in [
            ("/openCypher", "query", "CREATE (:Explained)"),
            ("/openCypher", "query", "MATCH (n) RETURN n"),
            ("/sparql", "update", "INSERT DATA { <urn:a> <urn:explained> 1 }"),
            ("/sparql", "query", "SELECT * { ?s ?p ?o }"),
        ] {
            let (status, body) = post(signer, path, &[(name, text), ("explain", mode)]).await;
            assert!(status == 400 && body.contains("UnsupportedOperationException"), "{body}");
        }
    }
    let in_json = r#"{"query": "CREATE (:Explained)", "explain": "static"}"#;
    // The SDKs have a path of its own for it.
    for path in ["/opencypher", "/opencypher/explain"] {
        let raw = signer.sign("POST", path, Some("application/json"), in_json);
        let (status, body) = signer.send(&raw).await;
        assert!(status == 400 && body.contains("UnsupportedOperationException"), "{path}: {body}");
    }
    let in_query = "/openCypher?query=CREATE%20%28%3AExplained%29&explain=static";
    assert_eq!(signer.send(&signer.sign("GET", in_query, None, "")).await.0, 400);
    assert_eq!(rows(signer, "MATCH (n:Explained) RETURN count(n) AS n").await, json!([{ "n": 0 }]));
    let ask = [("query", "ASK { ?s <urn:explained> ?o }")];
    let (_, answer) = post(signer, "/sparql", &ask).await;
    assert!(answer.contains("false"), "{answer}");
}

async fn ids_are_the_same_text_everywhere(signer: &Signer) {
    let people =
        rows(signer, "MATCH (n:Person) RETURN n, id(n), n.`~id` AS own ORDER BY n.name").await;
    for (index, given) in [Some("ann"), None].into_iter().enumerate() {
        let row = &people[index];
        let id = row["id(n)"].as_str().unwrap();
        assert_eq!((&row["n"]["~id"], &row["own"]), (&json!(id), &json!(id)), "{row}");
        assert!(given.is_none_or(|given| given == id), "{row}");
        let name = &row["n"]["~properties"]["name"];
        for condition in ["id(n) = $", "ID ( n ) = $", "id(n) IN [$]", "n.`~id` = $"] {
            let condition = condition.replace('$', &format!("'{id}'"));
            let query = format!("MATCH (n) WHERE {condition} RETURN n.name AS name");
            assert_eq!(rows(signer, &query).await, json!([{ "name": name }]), "{query}");
        }
    }
    let bob = &people[1]["n"]["~id"];
    let query = "MATCH (a)-[r]->(b) WHERE id(r) <> 'x' \
        RETURN r, id(r) AS i, id(startNode(r)) AS s, [x IN [b] | id(x)][0] AS e ORDER BY type(r)";
    for row in rows(signer, query).await.as_array().unwrap() {
        let r = &row["r"];
        assert_eq!(
            (&r["~id"], &r["~start"], &r["~end"]),
            (&row["i"], &row["s"], &row["e"]),
            "{row}"
        );
    }
    let liked =
        rows(signer, "MATCH p = (:Person {`~id`: 'ann'})-[:KNOWS]->()-[r:LIKES]->() RETURN p, r")
            .await;
    assert_eq!((&liked[0]["r"]["~id"], &liked[0]["r"]["~start"]), (&json!("bob-likes"), bob));
    assert_eq!(liked[0]["p"][1]["~start"], "ann", "{liked}");
    // A map's own ~id, and no node at all.
    let maps = "UNWIND [{`~id`: 'm'}] AS m OPTIONAL MATCH (n:None) RETURN m.`~id` AS m, id(n) AS n";
    assert_eq!(rows(signer, maps).await, json!([{ "m": "m", "n": null }]));
}

async fn the_only_column_keeps_its_name(signer: &Signer) {
    for (returned, name) in [
        ("n", "n"),
        ("n AS m", "m"),
        ("collect(n)[0] AS first", "first"),
        ("head(collect(n)) AS `the first` LIMIT 1", "the first"),
        ("collect(n)[0]", "collect(n)[0]"),
        ("DISTINCT n AS set ORDER BY n.name", "set"),
        ("*", "n"),
        ("CASE WHEN n.name = 'x' THEN n END AS order", "order"),
    ] {
        let rows = rows(signer, &format!("MATCH (n:Thing) RETURN {returned}")).await;
        assert_eq!(rows[0][name]["~labels"], json!(["Thing"]), "{returned}: {rows}");
    }
    let edge = rows(signer, "MATCH ()-[r:LIKES]->() RETURN collect(r)[0] AS likes").await;
    assert_eq!(edge[0]["likes"]["~type"], "LIKES", "{edge}");
}

async fn words_that_are_no_clauses_need_no_right_to_write(signer: &Signer) {
    let read = "MATCH (a)-[:LIKES|CREATE]->(b) RETURN {set: b.name}['set'] AS merge";
    assert_eq!(rows(signer, read).await, json!([{ "merge": "x" }]));
}

async fn the_summary_has_labels_and_counts(signer: &Signer) {
    let expected = json!({
        "numNodes": 3, "numEdges": 2, "numNodeLabels": 2, "numEdgeLabels": 2,
        "nodeLabels": ["Person", "Thing"], "edgeLabels": ["KNOWS", "LIKES"],
        "numNodeProperties": 1, "numEdgeProperties": 1,
        "nodeProperties": [{ "name": 3 }], "edgeProperties": [{ "since": 1 }],
        "totalNodePropertyValues": 3, "totalEdgePropertyValues": 1,
    });
    for path in [
        "/propertygraph/statistics/summary",
        "/pg/statistics/summary",
        "/pg/statistics/summary/",
        "/propertygraph/statistics/summary?mode=basic",
    ] {
        let summary = get(signer, path).await;
        assert_eq!(summary["payload"]["graphSummary"], expected, "{path}");
    }
    let detailed = get(signer, "/pg/statistics/summary?mode=detailed").await;
    let structures = &detailed["payload"]["graphSummary"]["nodeStructures"];
    assert_eq!(structures.as_array().unwrap().len(), 3, "{detailed}");
    let wrong = signer.sign("GET", "/pg/statistics/summary?mode=x", None, "");
    assert_eq!(signer.send(&wrong).await.0, 400);
}

/// What AWS's MCP server for Neptune and langchain-aws's NeptuneGraph ask at their start.
async fn boto3_reads_the_summary_and_asks_for_a_schema(folder: &std::path::Path) {
    let output = with_env_sourced(
        folder,
        r#"python - <<'END'
import boto3, json
client = boto3.client("neptunedata")
summary = client.get_propertygraph_summary()["payload"]["graphSummary"]
print(summary["nodeLabels"], summary["edgeLabels"])
def ask(query):
    return client.execute_open_cypher_query(openCypherQuery=query)["results"]
for label in summary["edgeLabels"]:
    print(ask(f"""
        MATCH (a)-[e:`{label}`]->(b)
        WITH a,e,b LIMIT 3000
        RETURN DISTINCT labels(a) AS from, type(e) AS edge, labels(b) AS to
        LIMIT 10
        """))
    props = ask(f"MATCH ()-[e:`{label}`]->() RETURN properties(e) AS props LIMIT 100")
    print(sorted(name for row in props for name in row["props"] if name != "~id"))
for label in summary["nodeLabels"]:
    print(sorted(row["props"]["name"] for row in ask(f"MATCH (a:`{label}`) RETURN properties(a) AS props LIMIT 100")))
END"#,
    )
    .await;
    let expected = "['Person', 'Thing'] ['KNOWS', 'LIKES']\n\
        [{'edge': 'KNOWS', 'from': ['Person'], 'to': ['Person']}]\n['since']\n\
        [{'edge': 'LIKES', 'from': ['Person'], 'to': ['Thing']}]\n[]\n\
        ['Ann', 'Bob']\n['x']\n";
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
}
