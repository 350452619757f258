//! The start of PostgreSQL's protocol, as PostgreSQL and RDS take it: what the gate reads is what the server
//! uses, and what the server refuses is refused in its words.

use std::time::Duration;

use rds_local::{Options, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::wire::{Message, V3, clear, encrypted, session};
use crate::common::{start, text, with_env_sourced};

const RO: (&str, &str) = ("user", "iam_ro_user");
const RW: (&str, &str) = ("user", "iam_rw_user");
const SUPERUSER: (&str, &str) = ("user", "postgres");
const DATABASE: (&str, &str) = ("database", "sample_db");

fn last_reason(server: &Server) -> String {
    server.gate.log().records().last().unwrap().outcome.clone().unwrap_err()
}

/// A login with these parameters and a token of `iam_ro_user`: who is in which database, or the error.
async fn login(server: &Server, parameters: &[(&str, &str)]) -> Result<String, (String, String)> {
    let mut wire = encrypted(server, false, &[]).await;
    wire.start_up(V3, parameters).await;
    wire.log_in(server, "iam_ro_user").await?;
    let who = "SELECT concat_ws(' ', session_user, current_user, current_database(), \
               current_setting('is_superuser'), current_setting('application_name'))";
    Ok(wire.ask(who).await.unwrap())
}

#[tokio::test]
async fn the_gate_checks_the_user_whom_the_server_takes() {
    let (server, _folder) = start(|options| options).await;
    let me = "iam_ro_user iam_ro_user sample_db off ";
    for parameters in [
        vec![RO, DATABASE],
        vec![SUPERUSER, RO, DATABASE],
        vec![RW, RO, ("database", "postgres"), DATABASE],
        vec![RO, DATABASE, ("replication", "true"), ("replication", "off")],
        // Another parameter, which happens to hold the word.
        vec![RO, DATABASE, ("application_name", "user"), ("application_name", "")],
    ] {
        assert_eq!(login(&server, &parameters).await.as_deref(), Ok(me), "{parameters:?}");
    }
    let named = [RO, DATABASE, ("application_name", "a"), ("application_name", "b")];
    assert_eq!(login(&server, &named).await.unwrap(), format!("{me}b"));

    let denied = |code: &str, message: &str| Err((code.to_owned(), message.to_owned()));
    let password = "password authentication failed for user \"postgres\"";
    let pam = "PAM authentication failed for user \"iam_rw_user\"";
    for (parameters, expected) in [
        (vec![RO, SUPERUSER, DATABASE], denied("28P01", password)),
        (vec![RO, DATABASE, SUPERUSER], denied("28P01", password)),
        (vec![RO, RW, DATABASE], denied("28000", pam)),
        // The server itself refuses what goes beyond the user's rights.
        (
            vec![RO, DATABASE, ("options", "-c role=postgres")],
            denied("42501", "permission denied to set role \"postgres\""),
        ),
        (
            vec![RO, DATABASE, ("options", "-c session_authorization=postgres")],
            denied("42501", "permission denied to set session authorization \"postgres\""),
        ),
        (
            vec![RO, DATABASE, ("options", "-crole=iam_rw_user --role=postgres")],
            denied("42501", "permission denied to set role \"iam_rw_user\""),
        ),
        (
            vec![RO, DATABASE, ("role", "postgres")],
            denied("42501", "permission denied to set role \"postgres\""),
        ),
        (
            vec![RO, DATABASE, ("session_authorization", "postgres")],
            denied("42501", "permission denied to set session authorization \"postgres\""),
        ),
        (
            vec![RO, DATABASE, ("options", "-c allow_system_table_mods=on")],
            denied("42501", "permission denied to set parameter \"allow_system_table_mods\""),
        ),
        (
            vec![RO, DATABASE, ("USER", "postgres")],
            denied("42704", "unrecognized configuration parameter \"USER\""),
        ),
    ] {
        assert_eq!(login(&server, &parameters).await, expected, "{parameters:?}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_postgresql_cannot_read_it_refuses_in_its_own_words() {
    let (server, _folder) = start(|options| options).await;
    let packet = |version: u32, rest: &str| {
        [&version.to_be_bytes()[..], rest.replace(' ', "\0").as_bytes()].concat()
    };
    let unsupported = "unsupported frontend protocol";
    for (packet, code, message) in [
        (packet((4 << 16) + 1, "user iam_ro_user  "), "0A000", unsupported),
        (packet(0x1234_0000, "user iam_ro_user  "), "0A000", unsupported),
        (packet(V3, "database sample_db  "), "28000", "no PostgreSQL user name specified"),
        (packet(V3, "user   "), "28000", "no PostgreSQL user name specified"),
        (packet(V3, "user iam_ro_user"), "08P01", "invalid startup packet layout"),
        (packet(V3, "user iam_ro_user  user postgres  "), "08P01", "invalid startup packet layout"),
        (packet(V3, "user postgres replication perhaps  "), "22023", "invalid value for parameter"),
    ] {
        let mut wire = encrypted(&server, false, &[]).await;
        wire.packet(&packet).await;
        let with_tls = wire.until('E').await.unwrap();
        assert_eq!(wire.next().await.unwrap(), None);
        let mut wire = clear(&server).await;
        wire.packet(&packet).await;
        let without = wire.until('E').await.unwrap();
        assert_eq!(wire.next().await.unwrap(), None);
        assert_eq!(with_tls, without, "{message}");
        let [error] = &with_tls[..] else { panic!("{packet:?}: {with_tls:?}") };
        assert_eq!((error.field('S').as_str(), error.field('C').as_str()), ("FATAL", code));
        assert!(error.field('M').starts_with(message), "{error:?}");
    }
    // Protocol 2.0 has no length in its messages, and PostgreSQL answers in it.
    let mut wire = encrypted(&server, false, &[]).await;
    wire.packet(&packet(2 << 16, "user iam_ro_user  ")).await;
    let mut told = Vec::new();
    wire.stream.read_to_end(&mut told).await.unwrap();
    let told = text(&told);
    assert!(told.starts_with("EFATAL:  unsupported frontend protocol 2.0"), "{told}");
    server.stop().await.unwrap();
}

/// PostgreSQL takes 10,000 bytes behind the packet's length, and closes without a word at one more.
#[tokio::test]
async fn a_start_up_packet_may_be_as_long_as_postgresqls() {
    let (server, _folder) = start(|options| options).await;
    // The version and the parameters, up to the value of the last.
    let fixed = 4 + "user\0iam_ro_user\0database\0sample_db\0application_name\0\0\0".len();
    for length in [9_900, 9_940, 9_960, 9_999, 10_000] {
        let name = "n".repeat(length - fixed);
        let parameters = [RO, DATABASE, ("application_name", &name)];
        let me = login(&server, &parameters).await.unwrap();
        // PostgreSQL cuts the name.
        let expected = format!("iam_ro_user iam_ro_user sample_db off {}", "n".repeat(63));
        assert_eq!(me, expected, "{length}");
        // And says what it does not like, at any length that it takes.
        let unknown = [RO, DATABASE, ("application_nama", &name)];
        let (code, _) = login(&server, &unknown).await.unwrap_err();
        assert_eq!(code, "42704", "{length}");
    }
    let socket = server.database.postgres().unwrap().socket_folder().join(".s.PGSQL.5432");
    let mut own = tokio::net::UnixStream::connect(socket).await.unwrap();
    let name = "n".repeat(10_001 - fixed);
    let body = format!("user\0iam_ro_user\0database\0sample_db\0application_name\0{name}\0\0");
    let packet = [&10_005_u32.to_be_bytes()[..], &V3.to_be_bytes(), body.as_bytes()].concat();
    own.write_all(&packet).await.unwrap();
    let mut told = Vec::new();
    // It leaves the packet unread, which makes the end a reset.
    let _ = own.read_to_end(&mut told).await;
    assert!(told.is_empty(), "PostgreSQL itself says nothing");
    for is_encrypted in [true, false] {
        let told = if is_encrypted {
            let mut wire = encrypted(&server, false, &[]).await;
            wire.packet(&packet[4..]).await;
            wire.next().await.unwrap()
        } else {
            let mut wire = clear(&server).await;
            wire.packet(&packet[4..]).await;
            wire.next().await.unwrap()
        };
        assert_eq!(told, None);
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_newer_protocol_is_negotiated_before_the_password() {
    let (server, _folder) = start(|options| options).await;
    let newest = V3 + 9999;
    for (version, parameters) in
        [(newest, vec![RO, DATABASE]), (V3, vec![RO, ("_pq_.rds_local", "1"), DATABASE])]
    {
        let mut wire = encrypted(&server, false, &[]).await;
        wire.start_up(version, &parameters).await;
        let Message { kind, body } = wire.next().await.unwrap().unwrap();
        assert_eq!(kind, 'v');
        let unknown = String::from_utf8_lossy(&body[8..]).into_owned();
        assert_eq!(unknown, if version == V3 { "_pq_.rds_local\0" } else { "" });
        wire.log_in(&server, "iam_ro_user").await.unwrap();
        assert_eq!(wire.ask("SELECT 1").await.unwrap(), "1");

        let mut wire = clear(&server).await;
        wire.start_up(version, &parameters).await;
        let told = wire.until('E').await.unwrap();
        let kinds: String = told.iter().map(|message| message.kind).collect();
        assert_eq!(kinds, "vE");
        assert!(told[1].field('M').ends_with("no encryption"));
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn direct_tls_names_its_protocol() {
    let (server, folder) = start(|options| options).await;
    for (is_direct, alpn) in [
        (true, &["postgresql"][..]),
        (true, &["h2", "postgresql"]),
        (false, &[]),
        (false, &["postgresql"]),
    ] {
        let mut wire = encrypted(&server, is_direct, alpn).await;
        wire.start_up(V3, &[RO, DATABASE]).await;
        wire.log_in(&server, "iam_ro_user").await.unwrap();
    }
    let mut wire = encrypted(&server, true, &[]).await;
    assert_eq!(wire.next().await.unwrap(), None);
    let log = std::fs::read_to_string(folder.path().join("gate.log")).unwrap();
    assert!(log.contains("direct TLS without the ALPN protocol postgresql"), "{log}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn every_connection_ends_with_tls_own_end() {
    let (server, _folder) = start(|options| options).await;
    // A cancel request that names no session: PostgreSQL says nothing to it, and closes.
    let mut wire = encrypted(&server, false, &[]).await;
    wire.packet(&[4, 210, 22, 46, 0, 0, 0, 1, 0, 0, 0, 1]).await;
    assert_eq!(wire.next().await.unwrap(), None);
    // A second request for TLS.
    let mut wire = encrypted(&server, false, &[]).await;
    wire.packet(&[4, 210, 22, 47]).await;
    let told = wire.until('E').await.unwrap();
    assert_eq!(
        told[0].field('M').split(':').next(),
        Some("unsupported frontend protocol 1234.5679")
    );
    assert_eq!(wire.next().await.unwrap(), None);
    // Terminate.
    let mut wire = session(&server, "iam_ro_user").await;
    wire.send(&[('X', b"")]).await;
    assert_eq!(wire.next().await.unwrap(), None);
    server.stop().await.unwrap();
}

/// A session that is open when the server stops has its line, too.
#[tokio::test]
async fn a_session_that_the_gate_ends_has_a_line_in_the_log() {
    let (server, folder) = start(|options| options).await;
    let mut open = [session(&server, "iam_ro_user").await, session(&server, "iam_rw_user").await];
    server.stop().await.unwrap();
    for wire in &mut open {
        while let Ok(Some(_)) = wire.next().await {}
    }
    let log = std::fs::read_to_string(folder.path().join("gate.log")).unwrap();
    assert_eq!(log.matches("session ended: closed by the gate").count(), 2, "{log}");
}

#[tokio::test]
async fn psycopg_cancels_inside_tls() {
    let (server, folder) = start(|options| options).await;
    let script = r#"python - <<'END'
import os, psycopg, threading, time
connection = psycopg.connect(password=os.environ["TOKEN"])
told = []
def query():
    try: connection.execute("SELECT pg_sleep(30)")
    except psycopg.errors.QueryCanceled: told.append("cancelled")
thread = threading.Thread(target=query)
thread.start()
time.sleep(0.5)
connection.cancel_safe(timeout=10)
thread.join()
print(*told)
END"#;
    let rds_local = env!("CARGO_BIN_EXE_rds-local");
    let script = format!("export TOKEN=\"$('{rds_local}' token)\"; {script}");
    let output = with_env_sourced(folder.path(), &script).await;
    assert_eq!(text(&output.stdout).trim(), "cancelled", "{}", text(&output.stderr));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_token_opens_replication_only_with_the_parameter() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("init.sql");
    std::fs::write(&script, "ALTER ROLE iam_ro_user REPLICATION").unwrap();
    let init = Some(script);
    let (server, _folder) = start(|options| Options { init: init.clone(), ..options }).await;
    for value in ["true", "database", "on", "1", "YES", "t"] {
        let refused = login(&server, &[RO, DATABASE, ("replication", value)]).await.unwrap_err();
        let rds_says = "PAM authentication failed for user \"iam_ro_user\"";
        assert_eq!(refused, ("28000".into(), rds_says.into()), "{value}");
        assert!(last_reason(&server).contains("rds.iam_auth_for_replication"), "{value}");
    }
    login(&server, &[RO, DATABASE, ("replication", "false")]).await.unwrap();
    server.stop().await.unwrap();

    let on = |options| Options { init, iam_auth_for_replication: true, ..options };
    let (server, _folder) = start(on).await;
    for value in ["true", "database"] {
        let mut wire = encrypted(&server, false, &[]).await;
        wire.start_up(V3, &[RO, DATABASE, ("replication", value)]).await;
        wire.log_in(&server, "iam_ro_user").await.unwrap();
        let system = wire.ask("IDENTIFY_SYSTEM").await.unwrap();
        assert!(system.chars().take(10).all(|c| c.is_ascii_digit()), "{system}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_session_sees_its_tls() {
    let (server, _folder) = start(|options| options).await;
    let mut wire = session(&server, "iam_ro_user").await;
    let own = "SELECT concat_ws(' ', ssl, version, cipher, bits, client_dn) FROM pg_stat_ssl \
               WHERE pid = pg_backend_pid()";
    let expected = "t TLSv1.3 TLS_AES_256_GCM_SHA384 256";
    assert_eq!(wire.ask(own).await.unwrap(), expected);
    wire.send(&[('Q', b"DISCARD ALL\0")]).await;
    wire.until('Z').await.unwrap();
    assert_eq!(wire.ask(own).await.unwrap(), expected);
    // An administrator sees other sessions' TLS, and the gate's own sessions as they are.
    let admin = server.database.superuser("sample_db").await.unwrap();
    let all = "SELECT usename::text, ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
               WHERE datname = 'sample_db' ORDER BY 1";
    let rows = admin.query(all, &[]).await.unwrap();
    let rows: Vec<(String, bool)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows, [("iam_ro_user".into(), true), ("postgres".into(), false)]);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_refused_client_may_go_on_sending() {
    let (server, _folder) = start(|options| options).await;
    for _ in 0..10 {
        let mut wire = clear(&server).await;
        wire.start_up(V3, &[RO, DATABASE]).await;
        let chunk = vec![0; 64 * 1024];
        for _ in 0..64 {
            wire.stream.write_all(&chunk).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        let told = wire.until('E').await.unwrap();
        assert!(told[0].field('M').ends_with("no encryption"));
    }
    server.stop().await.unwrap();
}
