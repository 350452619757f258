//! The function's real binary against the Neptune gate and its engines: events, results, hostile
//! parameters, time-outs, and an engine or a gate that fails.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rds_local::neptune::Cluster;
use rds_local::testing::{Function, summaries};
use rds_local::{CLUSTER_RESOURCE_ID, Options};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

struct World {
    cluster: Cluster,
    folder: TempDir,
    variables: BTreeMap<String, String>,
}

fn root() -> PathBuf {
    rds_local::testing::root(env!("CARGO_MANIFEST_DIR"))
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(folder.path());
        let options = Options { resource_id: CLUSTER_RESOURCE_ID.into(), ..options };
        let cluster = Cluster::start(options).await.unwrap();
        let mut variables = cluster.variables();
        let queries = root().join("queries/neptune").display().to_string();
        variables.insert("QUERIES_DIR".into(), queries);
        variables.insert("AWS_LAMBDA_LOG_FORMAT".into(), "JSON".into());
        Self { cluster, folder, variables }
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.insert(name.into(), value.into());
    }

    fn queries(&mut self, files: &[(&str, &str)]) {
        let folder = self.folder.path().join("queries");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
        self.set("QUERIES_DIR", folder.display().to_string());
    }

    async fn function(&self, seconds: u64) -> Function {
        start(&self.variables, seconds).await
    }

    /// Rows that the engine itself gives.
    async fn ask(&self, statement: &str, parameters: &str) -> Value {
        let answer = self.cluster.ask_engine(statement, parameters).await.unwrap();
        serde_json::from_str::<Value>(&answer).unwrap()["result"].clone()
    }
}

/// An event of `events/neptune-query`.
fn event(name: &str) -> Vec<u8> {
    std::fs::read(root().join("events/neptune-query").join(name)).unwrap()
}

#[tokio::test]
async fn documented_events_have_documented_results() {
    let mut world = World::start().await;
    world.set("QUERY", "record_person");
    let mut function = world.function(30).await;
    // The table of events/neptune-query/README.md.
    let table = std::fs::read_to_string(root().join("events/neptune-query/README.md")).unwrap();
    let mut tried = 0;
    for row in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> =
            row.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`'])).collect();
        let (name, expected) = (cells[0], cells[1]);
        let outcome = function.invoke(event(name)).await;
        match outcome.error() {
            Some(error) => {
                assert_eq!(error.error_type, expected, "{name}: {}", error.error_message)
            }
            None => {
                let rds_local::runtime_api::Outcome::Response(body) = outcome else {
                    panic!("{name}")
                };
                let (got, wanted): (Value, Value) = (
                    serde_json::from_slice(&body).unwrap(),
                    serde_json::from_str(expected).unwrap(),
                );
                assert_eq!(got, wanted, "{name}");
            }
        }
        tried += 1;
    }
    let files = std::fs::read_dir(root().join("events/neptune-query")).unwrap().count();
    assert_eq!(tried, files - 1, "every event is in the table");
    // The message that came twice is one person.
    let people = world.ask("MATCH (p:Person {name: 'Cid'}) RETURN count(p) AS n", "{}").await;
    assert_eq!(people, json!([{ "n": 1 }]));
    let log = function.stop().await;
    let summaries = summaries(&log);
    assert!(summaries.iter().any(|line| line["connection"] == "reused"));
    assert!(summaries[0]["sign_ms"].is_number() && summaries[0]["tls_ms"].is_number());
    world.cluster.stop().await.unwrap();
}

/// Values that end strings, comments and statements in one language or another.
const HOSTILE: [&str; 14] = [
    "'",
    "\"",
    "\\",
    "\\\"",
    "'''",
    "\"\"\"",
    "}) DETACH DELETE n //",
    "\" } ; DROP ALL #",
    "\\u0022 } ; DROP ALL #",
    "$v",
    "a\nb\r\tc",
    "é😀\u{202e}",
    "*/ MATCH (n) DETACH DELETE n /*",
    "<urn:x>",
];

#[tokio::test]
async fn hostile_parameters_equal_the_engine_asked_directly() {
    let mut world = World::start().await;
    world.queries(&[
        ("echo.cypher", "/*+++\nparams = [{ name = \"v\" }]\n+++*/\nRETURN $v AS v, '$v' AS text"),
        ("echo_rq.rq", "#+++\n# params = [{ name = \"v\" }]\n#+++\nSELECT ?v (STRLEN(STR(?v)) AS ?n) { BIND($v AS ?v) } # $v\n"),
        ("put.rq", "#+++\n# mode = \"write\"\n# selectable = true\n# params = [{ name = \"v\" }]\n#+++\nINSERT DATA { <urn:a> <urn:v> $v }"),
        ("all.rq", "SELECT ?s ?p ?o { ?s ?p ?o }"),
    ]);
    let mut function = world.function(60).await;
    let mut random = fastrand::Rng::with_seed(7);
    let count: usize = std::env::var("HOSTILE").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let mut values: Vec<Value> = HOSTILE.iter().map(|text| json!(text)).collect();
    values.extend([json!(0), json!(-7), json!(1.5), json!(true), json!(9_007_199_254_740_993_i64)]);
    while values.len() < count {
        let pieces: String =
            (0..random.usize(1..6)).map(|_| *random.choice(&HOSTILE).unwrap()).collect();
        values.push(json!(pieces));
    }
    let mut put = 0;
    for value in &values {
        let params = json!({ "v": value });
        let run = |query: &str| json!({ "query": query, "params": params }).to_string();
        let answer = function.ok(run("echo")).await;
        let asked = world.ask("RETURN $v AS v, '$v' AS text", &params.to_string()).await;
        assert_eq!(answer["rows"], asked, "{value}");
        assert_eq!((&answer["rows"][0]["v"], &answer["rows"][0]["text"]), (value, &json!("$v")));
        let answer = function.ok(run("echo_rq")).await;
        assert_eq!(answer["rows"][0]["v"], *value, "{value}");
        function.ok(run("put")).await;
        put += 1;
        if put % 20 == 0 || put == values.len() {
            let all = function.ok(r#"{"query":"all"}"#).await;
            for row in all["rows"].as_array().unwrap() {
                assert!(row["p"] == "urn:v" && values.contains(&row["o"]), "{row}");
            }
        }
    }
    let lists = json!({ "query": "echo", "params": { "v": [1, "a", { "b": null }] } }).to_string();
    assert_eq!(function.ok(lists).await["rows"][0]["v"], json!([1, "a", { "b": null }]));
    for bad in ["null", "[1]", "\"\\u0000\""] {
        let event = format!(r#"{{"query":"echo_rq","params":{{"v":{bad}}}}}"#);
        let error = function.error(event).await;
        assert_eq!(error.error_type, "Query.BadParameter", "{bad}");
    }
    for line in function.stop().await {
        assert!(!line.contains("DROP ALL") && !line.contains("DETACH"), "{line}");
    }
    world.cluster.stop().await.unwrap();
}

const SLOW: &str =
    "UNWIND range(1,9000) AS a UNWIND range(1,9000) AS b WITH a,b WHERE a*b=7 RETURN count(*) AS n";

fn run(query: &str) -> String {
    json!({ "query": query }).to_string()
}

/// The parts run in turn on one cluster, whose engine is slow to start.
#[tokio::test]
async fn results_time_outs_and_failures() {
    let mut world = World::start().await;
    set_queries(&mut world);
    let mut function = world.function(4).await;
    rows_become_results_or_errors(&mut function).await;
    limits_types_and_names_are_what_they_look_like(&mut function).await;
    a_slow_query_is_cancelled_on_the_server(&world, &mut function).await;
    function.stop().await;
    a_write_without_an_answer_has_an_unknown_outcome(&world).await;
    wrong_variables_have_their_own_errors(&world).await;
    an_engine_that_is_down_fails_the_query(world).await;
}

fn set_queries(world: &mut World) {
    let slow_write = SLOW.replace("RETURN count(*) AS n", "CREATE (:Slow) RETURN a");
    let slow_write = format!("/*+++\nmode = \"write\"\nselectable = true\n+++*/\n{slow_write}");
    world.queries(&[
        ("slow.cypher", SLOW),
        ("slow_write.cypher", &slow_write),
        ("one.cypher", "/*+++\nresult = \"one\"\n+++*/\nRETURN 1 AS one"),
        ("two.cypher", "/*+++\nresult = \"one\"\n+++*/\nUNWIND [1,2] AS n RETURN n"),
        (
            "check.cypher",
            "/*+++\nresult = \"check\"\nfail = true\n+++*/\nUNWIND [1,2] AS n RETURN n",
        ),
        (
            "metric.cypher",
            "/*+++\nresult = \"metric\"\nnamespace = \"Graph\"\n+++*/\nRETURN 3 AS people, 'eu' AS region",
        ),
        ("wrong.cypher", "MATCH (n RETURN n"),
        ("hidden.cypher", "MATCH (n) SET n.a = 1"),
        ("closed.cypher", "/*+++\nmode = \"write\"\n+++*/\nCREATE (c:Closed) RETURN c.a AS a"),
        (
            "big.cypher",
            "UNWIND range(1,9) AS n RETURN reduce(s = 'xxxxxxxxxxxxxxxx', i IN range(1,16) | s + s) AS x",
        ),
        (
            "limit.rq",
            "#+++\n# params = [{ name = \"n\" }, { name = \"skip\", default = 0 }]\n#+++\n\
             SELECT ?v { VALUES ?v { 1 2 3 } } ORDER BY ?v LIMIT $n OFFSET $skip",
        ),
        (
            "types.rq",
            "PREFIX xsd: <http://www.w3.org/2001/XMLSchema#>\n\
             SELECT ?a ?b ?c ?d ?e { BIND(\"7\"^^xsd:nonNegativeInteger AS ?a) \
             BIND(\"8\"^^xsd:unsignedInt AS ?b) BIND(\"+9\"^^xsd:positiveInteger AS ?c) \
             BIND(\"1\"^^xsd:boolean AS ?d) BIND(\"0\"^^xsd:boolean AS ?e) }",
        ),
        (
            "names.cypher",
            "MATCH (n: Set) OPTIONAL MATCH (n)-[:LIKES|CREATE]->(create) RETURN {create: n.v} AS delete",
        ),
        (
            "put.cypher",
            "/*+++\nmode = \"write\"\nselectable = true\n+++*/\nCREATE (n:Put) RETURN 1 AS one",
        ),
    ]);
}

async fn rows_become_results_or_errors(function: &mut Function) {
    assert_eq!(function.ok(run("one")).await["row"], json!({ "one": 1 }));
    assert_eq!(function.ok(run("metric")).await["metric_count"], 1);
    for (query, kind) in [
        ("two", "Result.NotOne"),
        ("check", "Check.Violations"),
        ("wrong", "Query.Invalid"),
        ("hidden", "Query.Invalid"),
        ("closed", "Query.Denied"),
        ("big", "Result.TooLarge"),
        ("none", "Query.NotFound"),
    ] {
        fails(function, query, kind).await;
    }
}

async fn limits_types_and_names_are_what_they_look_like(function: &mut Function) {
    let limit = |params: Value| json!({ "query": "limit", "params": params }).to_string();
    let answer = function.ok(limit(json!({ "n": 2 }))).await;
    assert_eq!(answer["rows"], json!([{ "v": 1 }, { "v": 2 }]));
    let answer = function.ok(limit(json!({ "n": 2, "skip": 2 }))).await;
    assert_eq!(answer["rows"], json!([{ "v": 3 }]));
    assert_eq!(function.ok(limit(json!({ "n": 0 }))).await["rows"], json!([]));
    for wrong in [json!(-1), json!(1.5), json!("2"), json!("2 } DROP ALL #"), json!(true)] {
        let error = function.error(limit(json!({ "n": wrong }))).await;
        assert_eq!(error.error_type, "Query.BadParameter", "{wrong}");
        assert!(!error.error_message.contains("DROP"), "{}", error.error_message);
    }
    let row = json!({ "a": 7, "b": 8, "c": 9, "d": true, "e": false });
    assert_eq!(function.ok(run("types")).await["rows"], json!([row]));
    assert_eq!(function.ok(run("names")).await["rows"], json!([]));
}

/// Invokes the function, which must fail with this error type.
async fn fails(function: &mut Function, query: &str, kind: &str) {
    let error = function.error(run(query)).await;
    assert_eq!(error.error_type, kind, "{query}: {}", error.error_message);
}

/// The answer comes before the deadline, and the write has not happened.
async fn a_slow_query_is_cancelled_on_the_server(world: &World, function: &mut Function) {
    for query in ["slow", "slow_write"] {
        fails(function, query, "Query.Timeout").await;
    }
    let log = std::fs::read_to_string(world.folder.path().join("gate.log")).unwrap();
    assert_eq!(log.matches("CancelledByUserException").count(), 2, "{log}");
    assert_eq!(world.ask("MATCH (s:Slow) RETURN count(s) AS n", "{}").await, json!([{ "n": 0 }]));
}

async fn a_write_without_an_answer_has_an_unknown_outcome(world: &World) {
    let (silent, relay) = silent_after_tls(world.variables["DB_TUNNEL"].clone()).await;
    let mut variables = world.variables.clone();
    variables.insert("DB_TUNNEL".into(), silent);
    let mut function = start(&variables, 3).await;
    fails(&mut function, "put", "Query.OutcomeUnknown").await;
    fails(&mut function, "one", "Query.Timeout").await;
    function.stop().await;
    relay.abort();
}

async fn start(variables: &BTreeMap<String, String>, seconds: u64) -> Function {
    let binary = env!("CARGO_BIN_EXE_neptune-query");
    Function::start(binary, variables, Duration::from_secs(seconds)).await
}

/// A way to the gate that takes all requests and gives no answer: its address, and its task.
async fn silent_after_tls(gate: String) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(carry_handshake(client, gate.clone()));
        }
    });
    (address, task)
}

/// Carries all that the client says, and of the gate only what it says first: TLS's handshake.
async fn carry_handshake(mut client: TcpStream, gate: String) -> std::io::Result<()> {
    let mut gate = TcpStream::connect(gate).await?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_gate, mut to_gate) = gate.split();
    let down = async {
        let mut first = vec![0; 16 * 1024];
        let length = from_gate.read(&mut first).await?;
        to_client.write_all(&first[..length]).await?;
        tokio::io::copy(&mut from_gate, &mut tokio::io::sink()).await
    };
    let ended = tokio::select! {
        up = tokio::io::copy(&mut from_client, &mut to_gate) => up,
        down = down => down,
    };
    ended.map(|_| ())
}

/// The cluster's own variables, with one changed.
fn variables_with(world: &World, name: &str, value: &str) -> BTreeMap<String, String> {
    let mut variables = world.cluster.variables();
    variables.insert("QUERIES_DIR".into(), world.variables["QUERIES_DIR"].clone());
    variables.insert(name.into(), value.into());
    variables
}

async fn wrong_variables_have_their_own_errors(world: &World) {
    for (name, value, kind) in [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "Auth.Rejected"),
        ("NEPTUNE_SSLROOTCERT", "", "Tls.Untrusted"),
        ("DB_TUNNEL", "127.0.0.1:1", "Network.Unreachable"),
        ("NEPTUNE_PORT", "x", "Config.Invalid"),
    ] {
        let mut function = start(&variables_with(world, name, value), 10).await;
        let error = function.error(run("one")).await;
        assert_eq!(error.error_type, kind, "{name}: {}", error.error_message);
        function.stop().await;
    }
}

/// The function assumes a role here, which works until the engine is killed.
async fn an_engine_that_is_down_fails_the_query(mut world: World) {
    let role = world.cluster.variables()["DB_ROLE_ARN_EXAMPLE"].clone();
    let mut function = start(&variables_with(&world, "DB_ROLE_ARN", &role), 10).await;
    assert_eq!(function.ok(run("one")).await["row"], json!({ "one": 1 }));
    world.cluster.kill_engine().await;
    fails(&mut function, "one", "Query.Failed").await;
    fails(&mut function, "put", "Query.OutcomeUnknown").await;
    function.stop().await;
    world.cluster.stop().await.unwrap();
}
