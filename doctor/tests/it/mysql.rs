//! doctor on MySQL: a real MariaDB behind the gate, and a server in front of it that answers with the packets
//! of what no MariaDB does here.

use std::time::{Duration, SystemTime};

use aws_smithy_async::time::SharedTimeSource;
use rds_local::database::Engine;
use rds_local::gate::Fault;
use rds_local::iam::{Identity, dbuser_arn};
use rds_local::testing::ports::free_port;
use rds_local::{DATABASE, HOST, Options, Server};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, UnixStream};

use crate::common;
use crate::common::aws::Aws;
use crate::common::front::{Front, Script, error, first, switch};
use crate::common::staged::{Changes, Off, Staged, sql};

const USER: &str = rds_local::READ_ONLY_USER;
const ARN: &str = "arn:aws:iam::123456789012:user/reporter";
const KEY: &str = "AKIAREPORTERREPO";
const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", "s3"), ("AWS_SESSION_TOKEN", "")];

struct World {
    server: Server,
    staged: Staged,
    clock: Off,
    _folder: TempDir,
}

impl World {
    async fn start(change: impl FnOnce(Options) -> Options) -> Self {
        let clock = Off::default();
        let shared = SharedTimeSource::new(clock.clone());
        let (server, folder) = common::start(|options| {
            change(Options { engine: Engine::Mysql, clock: shared, ..options })
        })
        .await;
        let staged = Staged::new(server.variables());
        Self { server, staged, clock, _folder: folder }
    }

    /// Runs statements as MariaDB's administrator.
    async fn run(&self, statements: &str) -> String {
        self.server.database.mariadb().unwrap().run("mysql", statements).await.unwrap()
    }

    async fn variables(
        &mut self,
        name: &str,
        cause: &str,
        changes: Changes<'_>,
        fill: Changes<'_>,
    ) {
        let failure = self.staged.fails(name, cause, changes).await;
        self.staged.repairs(failure, fill).await;
    }
}

#[tokio::test]
async fn causes_have_their_own_remedies() {
    let mut world = World::start(|options| options).await;
    let report = world.staged.report(&world.staged.healthy.clone()).await;
    assert_eq!((&report["ok"], &report["engine"]), (&true.into(), &"mysql".into()), "{report:#}");
    assert_eq!(report["causes"].as_array().unwrap().len(), 0, "{report:#}");
    settings(&mut world).await;
    keys(&mut world).await;
    network(&mut world).await;
    names(&mut world).await;
    policies(&mut world).await;
    logins(&mut world).await;
    without_tls(&mut world).await;
    packets(&mut world).await;
    clocks(&mut world).await;
    let (own, all) = world.staged.close();
    assert!(own >= 25 && all >= 40, "{own} of {all} causes");
    world.server.stop().await.unwrap();
}

async fn settings(world: &mut World) {
    let url = format!("mysql://{HOST}");
    let fill: Changes<'_> = &[("AWSAuthenticationPlugin", USER), ("database's name", DATABASE)];
    for (name, changes) in [
        ("a URL", &[("MYSQL_HOST", url.as_str())][..]),
        ("no user, no database", &[("MYSQL_USER", ""), ("MYSQL_DATABASE", "")]),
    ] {
        let failure = world.staged.fails(name, "configuration", changes).await;
        assert!(!failure.first.to_string().contains("PG"), "{:#}", failure.first);
        world.staged.repairs(failure, fill).await;
    }
}

async fn keys(world: &mut World) {
    let secret = world.staged.healthy["AWS_SECRET_ACCESS_KEY"].clone();
    let quoted = format!("\"{secret}\"");
    let quoted = [("AWS_SECRET_ACCESS_KEY", quoted.as_str())];
    world.variables("quotes", "keys-pasted", &quoted, &[]).await;
    let session = world.staged.healthy["AWS_SESSION_TOKEN"].clone();
    let fill = [("issued with the key", session.as_str())];
    world.variables("no session", "keys-incomplete", &[("AWS_SESSION_TOKEN", "")], &fill).await;

    let add = |world: &World, secret: &str, expires_at: Option<SystemTime>| {
        let mut identity = Identity::with_key(KEY, secret, None, ARN, &[dbuser_arn(USER)]);
        identity.expires_at = expires_at;
        world.server.iam.add(identity);
    };
    let failure = world.staged.fails("deleted key", "keys-unknown", &KEYS).await;
    add(world, "s3", None);
    world.staged.repairs(failure, &[]).await;
    add(world, "another", None);
    let failure = world.staged.fails("wrong secret", "secret-wrong", &KEYS).await;
    add(world, "s3", None);
    world.staged.repairs(failure, &[]).await;
    let before = SharedTimeSource::default().now() - Duration::from_secs(60);
    add(world, "s3", Some(before));
    let failure = world.staged.fails("expired", "credentials-expired", &KEYS).await;
    add(world, "s3", None);
    world.staged.repairs(failure, &[]).await;
}

async fn network(world: &mut World) {
    let port = world.server.address.port().to_string();
    let closed = free_port().to_string();
    let changes = [("MYSQL_TCP_PORT", closed.as_str())];
    let fill = [("database's port", port.as_str()), ("database's address", "127.0.0.1")];
    world.variables("wrong port", "port-refused", &changes, &fill).await;

    let unknown = [("MYSQL_HOSTADDR", ""), ("DB_TUNNEL", "no.such.name.invalid:3306")];
    let variables = world.staged.healthy.clone().into_iter();
    let changed = unknown.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let report = world.staged.report(&variables.chain(changed).collect()).await;
    // Without a network, a resolver cannot tell.
    let cause = report["causes"][0]["cause"].as_str().unwrap().to_owned();
    assert!(["name-unknown", "resolver-silent"].contains(&cause.as_str()), "{report:#}");
    let tunnel = world.server.address.to_string();
    world.variables("no name", &cause, &unknown, &[("tunnel", &tunnel)]).await;

    for (name, fault, cause) in [
        ("accepts and says nothing", Fault::Stall, "server-silent"),
        ("reset at once", Fault::Reset, "tls-closed"),
        ("reset at the login", Fault::ResetBeforeLogin, "mysql-closed"),
    ] {
        world.server.inject(fault).await.unwrap();
        let failure = world.staged.fails(name, cause, &[]).await;
        world.server.inject(Fault::None).await.unwrap();
        world.staged.repairs(failure, &[]).await;
    }

    let (postgres, _folder) = common::start(|options| options).await;
    let other = postgres.address.port().to_string();
    let changes = [("MYSQL_TCP_PORT", other.as_str())];
    let failure = world.staged.fails("PostgreSQL", "mysql-other-server", &changes).await;
    assert!(failure.first["evidence"].to_string().contains("PostgreSQL"), "{:#}", failure.first);
    world.staged.repairs(failure, &[("port, 3306", &port)]).await;
    let other_root = postgres.variables()["PGSSLROOTCERT"].clone();
    let root = world.staged.healthy["MYSQL_SSL_CA"].clone();
    let changes = [("MYSQL_SSL_CA", other_root.as_str())];
    world.variables("another root", "root-missing", &changes, &[("PEM file", &root)]).await;
    postgres.stop().await.unwrap();
}

/// Names that are not in the certificate, or not those that the gate's tokens are signed for.
async fn names(world: &mut World) {
    let port = world.server.address.port().to_string();
    let fill = [("database's port", port.as_str())];
    let alias = [("MYSQL_HOST", "orders.db.example.com")];
    world.variables("an alias", "certificate-name", &alias, &fill).await;
    let localhost = [("MYSQL_HOST", "localhost"), ("MYSQL_HOSTADDR", "")];
    world.variables("localhost", "token-host", &localhost, &fill).await;
    let region = [("AWS_REGION", "eu-west-1"), ("AWS_DEFAULT_REGION", "eu-west-1")];
    let region = [&localhost[..], &region].concat();
    world.variables("another region", "token-region", &region, &fill).await;
    let tunnel = format!("127.0.0.1:{}", common::forward(world.server.address).await);
    let its = tunnel.rsplit(':').next().unwrap();
    let changes = [("MYSQL_HOSTADDR", ""), ("DB_TUNNEL", tunnel.as_str()), ("MYSQL_TCP_PORT", its)];
    world.variables("the tunnel's port", "token-port", &changes, &fill).await;
}

async fn policies(world: &mut World) {
    world.server.iam.add(Identity::with_key(KEY, "s3", None, ARN, &[]));
    let failure = world.staged.fails("no policy", "policy", &KEYS).await;
    let policy = failure.first["remedies"][0]["document"].as_str().unwrap();
    let policy = policy.replace("<db-…>", rds_local::RESOURCE_ID);
    let identity = Identity::with_policies(KEY, "s3", ARN, &[policy.as_str()]).unwrap();
    world.server.iam.add(identity);
    world.staged.repairs(failure, &[]).await;
}

/// MariaDB's own answers after the token.
async fn logins(world: &mut World) {
    let misspelt = [("MYSQL_DATABASE", "sampel_db")];
    world.variables("misspelt", "mysql-database-unknown", &misspelt, &[]).await;

    // Without a global privilege, the answer is 1044; with one, it is 1049.
    world.run(&format!("GRANT SELECT ON *.* TO '{USER}'@'%'")).await;
    world.variables("misspelt", "mysql-database-unknown", &misspelt, &[]).await;
    world.run(&format!("REVOKE SELECT ON *.* FROM '{USER}'@'%'")).await;

    world.run("CREATE DATABASE closed").await;
    let denied = [("MYSQL_DATABASE", "closed")];
    // The remedy opens the database, in which the user then sees no table.
    let failure = world.staged.fails("no USAGE", "mysql-database-denied", &denied).await;
    world.run(&sql(&failure)).await;
    world.staged.repairs(failure, &[]).await;
    let failure = world.staged.warns("no tables", "mysql-no-tables", &denied).await;
    world.run("CREATE TABLE closed.t (a int)").await;
    world.run(&sql(&failure)).await;
    world.staged.repairs(failure, &[]).await;

    let account = format!("'{USER}'@'%'");
    for (name, cause, broken) in [
        ("locked", "mysql-locked", format!("ALTER USER {account} ACCOUNT LOCK")),
        ("expired", "mysql-expired", format!("ALTER USER {account} PASSWORD EXPIRE")),
    ] {
        world.run(&broken).await;
        let failure = world.staged.fails(name, cause, &[]).await;
        world.run(&sql(&failure)).await;
        world.staged.repairs(failure, &[]).await;
    }
    world.run(&format!("ALTER USER {account} WITH MAX_CONNECTIONS_PER_HOUR 1")).await;
    // The first of the hour.
    world.staged.report(&world.staged.healthy.clone()).await;
    let failure = world.staged.fails("the user's limit", "mysql-user-limit", &[]).await;
    world.run(&sql(&failure)).await;
    world.staged.repairs(failure, &[]).await;

    world.server.inject(Fault::ReadOnly).await.unwrap();
    let failure = world.staged.warns("read-only", "mysql-reader", &[]).await;
    world.server.inject(Fault::None).await.unwrap();
    world.staged.repairs(failure, &[("cluster's endpoint", HOST)]).await;
    world.run("SET GLOBAL require_secure_transport = OFF").await;
    let failure = world.staged.warns("no TLS required", "mysql-insecure", &[]).await;
    world.run(&sql(&failure)).await;
    world.staged.repairs(failure, &[]).await;
}

/// MariaDB's own socket, past the gate: it offers no TLS, and refuses when it is full.
async fn without_tls(world: &mut World) {
    let socket = world.server.database.mariadb().unwrap().socket();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let past = listener.local_addr().unwrap().to_string();
    let path = socket.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let path = path.clone();
            tokio::spawn(async move {
                let mut far = UnixStream::connect(path).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    let changes = [("MYSQL_HOSTADDR", ""), ("DB_TUNNEL", past.as_str())];
    let gate = world.server.address.to_string();
    let fill = [("tunnel to the RDS", gate.as_str())];
    world.variables("no TLS", "mysql-no-tls", &changes, &fill).await;

    world.run("SET GLOBAL max_connections = 10, GLOBAL connect_timeout = 600").await;
    let mut held = Vec::new();
    for _ in 0..12 {
        let mut connection = UnixStream::connect(&socket).await.unwrap();
        // A greeting or a refusal: the server has counted this connection.
        connection.read_exact(&mut [0]).await.unwrap();
        held.push(connection);
    }
    let failure = world.staged.fails("full", "mysql-full", &changes).await;
    drop(held);
    world.run("SET GLOBAL max_connections = 200, GLOBAL connect_timeout = 10").await;
    let mut repaired = failure;
    repaired.variables.insert("DB_TUNNEL".into(), gate);
    world.staged.repairs(repaired, &[]).await;
}

/// Failures that only a server with these packets has.
async fn packets(world: &mut World) {
    let front = Front::start(world.server.address).await;
    let root = std::fs::read_to_string(&world.staged.healthy["MYSQL_SSL_CA"]).unwrap();
    let roots = root + &front.root_pem;
    let address = front.address.to_string();
    let changes =
        [("MYSQL_HOSTADDR", ""), ("DB_TUNNEL", address.as_str()), ("MYSQL_SSL_CA", roots.as_str())];
    let asks = |plugin: &str| Script::Login(vec![switch(plugin), error(1045)]);
    let token = |code: u16| Script::Login(vec![switch("mysql_clear_password"), error(code)]);
    for (name, cause, script) in [
        (
            "another protocol",
            "mysql-other-server",
            Script::First(b"SSH-2.0-OpenSSH_9.6\r\n".into()),
        ),
        ("host blocked", "mysql-host-blocked", first(&error(1129))),
        ("host unknown", "mysql-host-unknown", first(&error(1130))),
        ("shutdown", "mysql-starting", first(&error(1053))),
        ("another error", "mysql-greeting-other", first(&error(1042))),
        ("native", "mysql-plugin-native", asks("mysql_native_password")),
        ("caching_sha2", "mysql-plugin-sha2", asks("caching_sha2_password")),
        ("PAM", "mysql-plugin-other", asks("dialog")),
        ("no question", "mysql-unasked", Script::Login(vec![error(1045)])),
        ("no proof", "mysql-no-password", Script::Login(vec![vec![0, 0, 0, 2, 0, 0, 0]])),
        ("every user's limit", "mysql-users-limit", token(1203)),
        ("offline", "mysql-offline", token(3032)),
        ("another code", "mysql-login-other", token(1105)),
        ("silent", "mysql-slow", Script::Silence),
    ] {
        front.plays(script);
        let failure = match cause {
            "mysql-no-password" => world.staged.warns(name, cause, &changes).await,
            _ => world.staged.fails(name, cause, &changes).await,
        };
        let text = failure.first.to_string();
        assert!(!text.contains("s3cret"), "{name}: {text}");
        front.plays(Script::Forward);
        let gate = world.server.address.port().to_string();
        world.staged.repairs(failure, &[("port, 3306", &gate), ("new user", USER)]).await;
    }
}

async fn clocks(world: &mut World) {
    for (name, off) in [("an hour behind", 3600), ("an hour ahead", -3600)] {
        world.clock.set(off);
        let failure = world.staged.fails(name, "clock", &[]).await;
        world.clock.set(0);
        world.staged.repairs(failure, &[]).await;
    }
}

/// RDS's own word, as moto gives it.
#[tokio::test]
async fn rds_tells_what_a_client_cannot_know() {
    let aws = Aws::start().await;
    let port = free_port();
    let resource_id = aws.create_instance(port).await;
    let mut world = World::start(|options| Options { port, resource_id, ..options }).await;
    world.staged = Staged::new(aws.beside(&world.server));

    let nobody = [("MYSQL_USER", "nobody_made_this")];
    let modify = "rds.modify_db_instance(DBInstanceIdentifier='rds-local', ApplyImmediately=True, EnableIAMDatabaseAuthentication=";
    aws.call(&format!("{modify}False)")).await;
    let failure = world.staged.fails("IAM off", "iam-off", &nobody).await;
    aws.call(&format!("{modify}True)")).await;
    let mut repaired = failure;
    repaired.variables.insert("MYSQL_USER".into(), USER.into());
    world.staged.repairs(repaired, &[]).await;

    aws.call("rds.stop_db_instance(DBInstanceIdentifier='rds-local')").await;
    world.server.inject(Fault::Refuse).await.unwrap();
    let failure = world.staged.fails("stopped", "database-stopped", &[]).await;
    world.server.inject(Fault::None).await.unwrap();
    aws.call("rds.start_db_instance(DBInstanceIdentifier='rds-local')").await;
    world.staged.repairs(failure, &[]).await;

    // Its policies allow the login, so that a refusal is of another kind.
    world.server.inject(Fault::Throttle).await.unwrap();
    let failure = world.staged.fails("throttled", "throttled", &[]).await;
    world.server.inject(Fault::None).await.unwrap();
    world.staged.repairs(failure, &[]).await;
    assert_eq!(world.staged.close(), (0, 3));
    world.server.stop().await.unwrap();
}
