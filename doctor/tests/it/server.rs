//! doctor on what is wrong between the client and its database, and in the database: the network,
//! certificates, logins, grants and policies.

use crate::common;

use std::net::SocketAddr;

use common::broken_setup::{BrokenSetup, Changes, Fill, USER, clear, nothing};
use rds_local::gate::Fault;
use rds_local::iam::{Identity, dbuser_arn};
use rds_local::testing::ports::free_port;
use rds_local::{DATABASE, HOST, Server};

#[tokio::test]
async fn networks_and_certificates() {
    let mut setup = BrokenSetup::open(|options| options).await;
    refused_ports(&mut setup).await;
    a_black_hole(&mut setup).await;
    no_such_name(&mut setup).await;
    silence_and_resets(&mut setup).await;
    other_servers(&mut setup).await;
    other_roots(&mut setup).await;
    other_names(&mut setup).await;
    println!("{} staged", setup.close().await);
}

async fn refused_ports(setup: &mut BrokenSetup) {
    let address = setup.server.address;
    let port = address.port().to_string();
    let closed = free_port().to_string();
    let fill: Fill<'_> = &[("database's port", &port), ("database's address", "127.0.0.1")];
    setup.repair_variables("wrong port", "port-refused", &[("PGPORT", &closed)], fill).await;

    let tunnel = format!("127.0.0.1:{}", common::forward(address).await);
    let dead = format!("127.0.0.1:{closed}");
    let changes = [("PGHOSTADDR", ""), ("DB_TUNNEL", dead.as_str())];
    let known: Fill<'_> = &[("does listen", &tunnel)];
    setup.repair_variables("tunnel is down", "port-refused", &changes, known).await;

    setup.server.inject(Fault::Refuse).await.unwrap();
    let variables = setup.with(&[]);
    setup.repair("refused", "port-refused", variables, fill, clear).await;
}

/// A full backlog: the kernel drops further SYNs, as a security group does.
async fn a_black_hole(setup: &mut BrokenSetup) {
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let hole = full.local_addr().unwrap().as_socket().unwrap();
    let _filler = std::net::TcpStream::connect(hole).unwrap();
    let variables = setup.with(&[("PGPORT", &hole.port().to_string())]);
    let report = setup.doctor(&variables).await;
    // Silence ends with the budget, not with the limit of a server that answers slowly.
    let took = report["duration_ms"].as_f64().unwrap();
    assert!(took < rds_doctor::LIMIT.as_secs_f64() * 1000.0 / 2.0, "{took} ms");
    assert_eq!(report["causes"][0]["cause"], "security-group", "{report:#}");
    let rule = report["causes"][0]["remedies"][0]["command"].as_str().unwrap();
    assert!(rule.contains(&format!("--port {}", hole.port())), "{rule}");
    setup.seen.push(("black hole", true));
}

async fn no_such_name(setup: &mut BrokenSetup) {
    let variables = setup.with(&[("PGHOSTADDR", ""), ("DB_TUNNEL", "no.such.name.invalid:5432")]);
    let report = setup.doctor(&variables).await;
    let cause = report["causes"][0]["cause"].as_str().unwrap();
    // Without a network, a resolver cannot tell.
    assert!(["name-unknown", "resolver-silent"].contains(&cause), "{report:#}");
    let tunnel = format!("127.0.0.1:{}", common::forward(setup.server.address).await);
    let fill: Fill<'_> = &[("tunnel", &tunnel)];
    setup.repair("no such name", cause, variables, fill, nothing).await;
}

async fn silence_and_resets(setup: &mut BrokenSetup) {
    for (name, fault, cause) in [
        ("accepts and says nothing", Fault::Stall, "server-silent"),
        ("reset", Fault::Reset, "tls-closed"),
    ] {
        setup.server.inject(fault).await.unwrap();
        let variables = setup.with(&[]);
        setup.repair(name, cause, variables, &[], clear).await;
    }
}

async fn other_servers(setup: &mut BrokenSetup) {
    let port = setup.server.address.port().to_string();
    let http = common::saying(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"").await;
    let mysql = common::saying(b"J\0\0\0\x0a8.0.36\0", b"").await;
    let plain = common::saying(b"N", b"").await;
    for (name, other) in [("HTTP", &http), ("MySQL", &mysql)] {
        let fill: Fill<'_> = &[("port, 5432", &port), ("PostgreSQL database, if", HOST)];
        setup.repair_variables(name, "other-server", &[("PGPORT", other)], fill).await;
    }
    let changes = [("PGPORT", plain.as_str())];
    let fill: Fill<'_> = &[("address of the RDS", "127.0.0.1"), ("its port", &port)];
    setup.repair_variables("a server without TLS", "tls-not-offered", &changes, fill).await;
}

async fn other_roots(setup: &mut BrokenSetup) {
    let (other, _other_folder) = common::start(|options| options).await;
    let other_root = other.variables()["PGSSLROOTCERT"].clone();
    let root = setup.healthy["PGSSLROOTCERT"].clone();
    for (name, value) in
        [("another server's root", other_root.as_str()), ("the region's roots alone", "")]
    {
        let fill: Fill<'_> = &[("PEM file", &root)];
        setup.repair_variables(name, "root-missing", &[("PGSSLROOTCERT", value)], fill).await;
    }
    other.stop().await.unwrap();
}

/// Names that are not in the certificate, or not those that the gate's tokens are signed for.
async fn other_names(setup: &mut BrokenSetup) {
    let alias = ("PGHOST", "orders.db.example.com");
    let localhost = [("PGHOST", "localhost"), ("PGHOSTADDR", "")];
    let region = [("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "eu-west-1")];
    let port = setup.server.address.port().to_string();
    let fill: Fill<'_> = &[("database's port", &port)];
    let cases: &[(&str, &str, Changes<'_>)] = &[
        ("an alias", "certificate-name", &[alias]),
        ("an address", "certificate-name", &[("PGHOST", "127.0.0.1"), ("PGHOSTADDR", "")]),
        ("a name that the certificate holds too", "token-host", &localhost),
        ("an alias, its name unchecked", "token-host", &[alias, ("PGSSLMODE", "verify-ca")]),
        ("another region", "token-region", &[localhost, region].concat()),
    ];
    for (name, cause, changes) in cases {
        setup.repair_variables(name, cause, changes, fill).await;
    }
}

const REPORTER: &str = "arn:aws:iam::123456789012:user/reporter";
const REPORTERS_KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "AKIAREPORTERREPO"),
    ("AWS_SECRET_ACCESS_KEY", "s3"),
    ("AWS_SESSION_TOKEN", ""),
];

/// Gives the reporter's key these rights, and no others.
fn reporter_may_connect_as(server: &Server, allowed: &[String]) {
    server.iam.add(Identity::with_key("AKIAREPORTERREPO", "s3", None, REPORTER, allowed));
}

async fn run(server: &Server, sql: &str) {
    let admin = server.database.superuser("postgres").await.unwrap();
    for statement in sql.split(';') {
        admin.batch_execute(statement).await.unwrap();
    }
}

#[tokio::test]
async fn logins_grants_and_policies() {
    let mut setup = BrokenSetup::open(|options| options).await;
    missing_grants(&mut setup).await;
    wrong_users_and_databases(&mut setup).await;
    closed_schemas(&mut setup).await;
    wrong_policies(&mut setup).await;
    setup.server.inject(Fault::ResetBeforeLogin).await.unwrap();
    let variables = setup.with(&[]);
    setup.repair("closed at the login", "login-closed", variables, &[], clear).await;
    println!("{} staged", setup.close().await);
}

async fn missing_grants(setup: &mut BrokenSetup) {
    let no_connect = format!(
        "REVOKE CONNECT ON DATABASE {DATABASE} FROM PUBLIC; \
         REVOKE CONNECT ON DATABASE {DATABASE} FROM {USER}"
    );
    let grants = [
        ("rds_iam not granted", "not-granted", format!("REVOKE rds_iam FROM {USER}")),
        ("no LOGIN", "no-login", format!("ALTER ROLE {USER} NOLOGIN")),
        ("no CONNECT", "connect-denied", no_connect),
        ("the user's limit", "connections-full", format!("ALTER ROLE {USER} CONNECTION LIMIT 0")),
        (
            "the database's limit",
            "connections-full",
            format!("ALTER DATABASE {DATABASE} CONNECTION LIMIT 0"),
        ),
        (
            "no connections allowed",
            "database-closed",
            format!("ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS false"),
        ),
    ];
    for (name, cause, sql) in &grants {
        run(&setup.server, sql).await;
        setup.repair_variables(name, cause, &[], &[]).await;
    }
    run(&setup.server, &format!("GRANT CONNECT ON DATABASE {DATABASE} TO PUBLIC")).await;
}

async fn wrong_users_and_databases(setup: &mut BrokenSetup) {
    // A role that nobody created, whose policy is right.
    reporter_may_connect_as(&setup.server, &[dbuser_arn("reporter"), dbuser_arn(USER)]);
    let reporter = [&REPORTERS_KEYS[..], &[("PGUSER", "reporter")]].concat();
    setup.repair_variables("no such role", "not-granted", &reporter, &[]).await;
    // The remedy is the name, and no role of the misspelt one.
    setup.repair_variables("user's name", "not-granted", &[("PGUSER", "iam_ro_usr")], &[]).await;
    let admin = setup.server.database.superuser("postgres").await.unwrap();
    let made = "SELECT count(*) FROM pg_roles WHERE rolname = 'iam_ro_usr'";
    assert_eq!(admin.query_one(made, &[]).await.unwrap().get::<_, i64>(0), 0);
    setup.repair_variables("capitals", "user-case", &[("PGUSER", "IAM_RO_user")], &[]).await;
    let misspelt = [("PGDATABASE", "sampel_db")];
    setup.repair_variables("database's name", "database-unknown", &misspelt, &[]).await;
    let writes = [("PGTARGETSESSIONATTRS", "read-write")];
    for (name, whose) in [
        ("a database without writes", "DATABASE sample_db".to_owned()),
        ("a user without writes", format!("ROLE {USER}")),
        ("a user without writes there", format!("ROLE {USER} IN DATABASE sample_db")),
    ] {
        let set = format!("ALTER {whose} SET default_transaction_read_only = on");
        run(&setup.server, &set).await;
        setup.repair_variables(name, "read-only", &writes, &[]).await;
    }
    two_faults(setup).await;
}

/// The remedy of the first works though the second is there, which is named then.
async fn two_faults(setup: &mut BrokenSetup) {
    run(&setup.server, &format!("REVOKE rds_iam FROM {USER}")).await;
    let variables = setup.with(&[("PGDATABASE", "sampel_db")]);
    let report = setup.doctor(&variables).await;
    assert_eq!(report["causes"][0]["cause"], "not-granted", "{report:#}");
    let remedy = &report["causes"][0]["remedies"][0];
    let database = remedy["database"].as_str().unwrap();
    let admin = setup.server.database.superuser(database).await.unwrap();
    admin.batch_execute(remedy["sql"].as_str().unwrap()).await.unwrap();
    let report = setup.doctor(&variables).await;
    assert_eq!(report["causes"][0]["cause"], "database-unknown", "{report:#}");
}

/// Schemas of one's own, which no statement for `public` opens: the remedy names them, and its statements work.
async fn closed_schemas(setup: &mut BrokenSetup) {
    let admin = setup.server.database.superuser(DATABASE).await.unwrap();
    let sql = r#"REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM readonly_role;
        CREATE SCHEMA billing; CREATE TABLE billing.invoices (id int);
        CREATE SCHEMA "Old stock"; CREATE TABLE "Old stock".items (id int)"#;
    admin.batch_execute(sql).await.unwrap();
    // A right on the table is worth nothing without one on the schema.
    admin.batch_execute(&format!("GRANT SELECT ON billing.invoices TO {USER}")).await.unwrap();
    let variables = setup.with(&[]);
    let report = setup.doctor(&variables).await;
    let first = &report["causes"][0];
    assert_eq!(first["cause"], "no-tables", "{report:#}");
    let script = first["remedies"][1]["text"].as_str().unwrap();
    assert!(script.contains("-v \"schemas=Old stock,billing,public\""), "{script}");
    admin.batch_execute(first["remedies"][0]["sql"].as_str().unwrap()).await.unwrap();
    let report = setup.doctor(&variables).await;
    assert!(!report.to_string().contains("no-tables"), "{report:#}");
    let reads = format!("SET ROLE {USER}; SELECT FROM billing.invoices, \"Old stock\".items");
    admin.batch_execute(&reads).await.unwrap();

    let close = "RESET ROLE; REVOKE USAGE ON SCHEMA billing FROM iam_ro_user";
    admin.batch_execute(close).await.unwrap();
    let report = setup.doctor(&variables).await.to_string();
    assert!(report.contains("reads no table of schema billing"), "{report}");
}

/// Policies: none, one with the instance's name in place of its id, and one of another user or region.
async fn wrong_policies(setup: &mut BrokenSetup) {
    let fill: Fill<'_> = &[("db-…", rds_local::RESOURCE_ID)];
    let by_name = format!("arn:aws:rds-db:us-east-1:123456789012:dbuser:rds-local/{USER}");
    for (name, resources) in [
        ("no policy", vec![]),
        ("the instance's name", vec![by_name]),
        ("another user", vec![dbuser_arn("iam_rw_user")]),
        ("another region's ARN", vec![dbuser_arn(USER).replace("us-east-1", "eu-west-1")]),
    ] {
        reporter_may_connect_as(&setup.server, &resources);
        setup.repair_variables(name, "policy", &REPORTERS_KEYS, fill).await;
    }
}
