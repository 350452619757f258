//! The fault reset-before-answer, and a COPY: its data come between the statement and its answer.

use rds_local::gate::Fault;

use crate::common::recipe::Recipe;
use crate::common::wire::session;
use crate::common::{text, with_env_sourced};
use crate::gate_faults::{bind, count, execute, is_reset, parse, world};

/// PostgreSQL ignores each Sync and Flush while it takes a COPY's data.
#[tokio::test]
async fn a_copy_is_struck_however_many_syncs_come_inside_it() {
    let (server, _folder) = world(false).await;
    for (number, (syncs_before, syncs_inside, is_simple)) in
        [(0, 0, true), (0, 3, true), (2, 2, true), (1, 0, false), (3, 0, false), (2, 3, false)]
            .into_iter()
            .enumerate()
    {
        let way = format!("copy {number}");
        server.gate.set_fault(Fault::None);
        let mut wire = session(&server, "iam_rw_user").await;
        let row = format!("{way}\n");
        let copy = parse("", "COPY t FROM STDIN");
        let (bound, run) = (bind("", ""), execute(""));
        let mut begin: Vec<(char, &[u8])> = match is_simple {
            true => vec![('Q', b"COPY t FROM STDIN\0")],
            false => vec![('P', &copy), ('B', &bound), ('E', &run)],
        };
        begin.resize(begin.len() + syncs_before, ('S', b""));
        let mut data: Vec<(char, &[u8])> = vec![('H', b""), ('d', row.as_bytes())];
        data.resize(data.len() + syncs_inside, ('S', b""));
        data.push(('c', b""));
        if !is_simple {
            data.push(('S', b""));
        }
        // Without a fault, each is answered once, and the session goes on.
        wire.send(&begin).await;
        wire.until('G').await.unwrap();
        wire.send(&data).await;
        wire.until('Z').await.unwrap();
        assert_eq!(wire.ask("SELECT 1").await.unwrap(), "1", "{way}");
        assert_eq!(count(&server, &way).await, 1, "{way}");
        server.gate.set_fault(Fault::ResetBeforeAnswer);
        wire.send(&begin).await;
        wire.until('G').await.unwrap();
        wire.send(&data).await;
        is_reset(&mut wire, &way).await;
        assert_eq!(count(&server, &way).await, 2, "{way}");
        // The count of what is still to come is right behind a COPY, too.
        server.gate.set_fault(Fault::None);
        let mut wire = session(&server, "iam_rw_user").await;
        wire.send(&begin).await;
        wire.until('G').await.unwrap();
        wire.send(&data).await;
        wire.until('Z').await.unwrap();
        server.gate.set_fault(Fault::ResetBeforeAnswer);
        wire.send(&[('Q', b"SELECT 1\0")]).await;
        is_reset(&mut wire, &way).await;
    }
    server.stop().await.unwrap();
}

/// A COPY that fails in the middle of its data, before or after the client's last Sync.
#[tokio::test]
async fn a_copy_that_fails_is_struck_too() {
    let (server, _folder) = world(false).await;
    let (copy, bound, run) = (parse("", "COPY t FROM STDIN"), bind("", ""), execute(""));
    let extended = [('P', &*copy), ('B', &*bound), ('E', &*run), ('S', b"")];
    let simple = [('Q', b"COPY t FROM STDIN\0".as_slice())];
    for (begin, end) in [
        (&simple[..], &[('c', b"".as_slice())][..]),
        (&extended, &[('c', b""), ('S', b"")]),
        (&extended, &[('S', b""), ('c', b""), ('S', b"")]),
        (&extended, &[('f', b"no more\0"), ('S', b"")]),
        (&simple, &[('S', b""), ('f', b"no more\0")]),
    ] {
        server.gate.set_fault(Fault::None);
        let mut wire = session(&server, "iam_rw_user").await;
        server.gate.set_fault(Fault::ResetBeforeAnswer);
        wire.send(begin).await;
        wire.until('G').await.unwrap();
        wire.send(&[&[('d', b"a\tb\n".as_slice())], end].concat()).await;
        is_reset(&mut wire, "a COPY that fails").await;
    }
    server.stop().await.unwrap();
}

/// psycopg sends a COPY in the extended protocol, with a Sync behind it and another behind its data.
#[tokio::test]
async fn a_copy_of_psycopgs_is_struck_when_it_has_run() {
    let (server, folder) = world(false).await;
    let token = Recipe::good(&server).with(|r| {
        r.user = "iam_rw_user".into();
        r.host.clone_from(&server.variables()["PGHOST"]);
    });
    let script = format!(
        r#"export PGPASSWORD='{}'; python - <<'END'
import psycopg
connection = psycopg.connect(user="iam_rw_user", autocommit=True)
try:
    with connection.cursor().copy("COPY t FROM STDIN") as copy:
        copy.write_row(("psycopg",))
    print("copied")
except psycopg.OperationalError as error:
    print("struck")
END"#,
        token.token()
    );
    for (fault, told, rows) in
        [(Fault::None, "copied\n", 1), (Fault::ResetBeforeAnswer, "struck\n", 2)]
    {
        server.gate.set_fault(fault);
        let output = with_env_sourced(folder.path(), &script).await;
        assert_eq!(text(&output.stdout), told, "{}", text(&output.stderr));
        assert_eq!(count(&server, "psycopg").await, rows);
    }
    server.stop().await.unwrap();
}
