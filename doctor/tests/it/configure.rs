//! `rds-doctor configure` on moto's RDS and EC2, which check signatures and policies; SAM's own code reads what
//! was written.

use crate::common;

use std::collections::BTreeMap;
use std::process::Stdio;

use common::aws::python;
use common::project::{FUNCTIONS, World, script};
use serde_json::{Value, json};
use tokio::process::Command;

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn notes(report: &Value) -> String {
    report["notes"].to_string()
}

#[tokio::test]
async fn moto_tells_and_sam_reads() {
    let mut world = World::start().await;
    an_instance_fills_the_template(world.anew()).await;
    clusters_and_proxies_are_described_too(world.anew()).await;
    every_engine_has_its_function(world.anew()).await;
    every_template_is_read_as_sam_reads_it(world.anew()).await;
    subnets_are_private_ones(world.anew()).await;
    what_keeps_it_from_asking_is_said(world.anew()).await;
    values_change_only_after_a_yes(world.anew()).await;
}

async fn an_instance_fills_the_template(world: &World) {
    let before = world.file();
    let dry = world.configure(&["mydb", "--dry-run"]).await;
    assert!(dry.ok && dry.out.contains("+ DatabaseHost=mydb."), "{}", dry.out);
    assert!(dry.out.contains("Wrote nothing (--dry-run): 7 parameters."), "{}", dry.out);
    assert_eq!(world.file(), before);

    let ran = world.configure(&["mydb"]).await;
    let vpc = world.id("vpc");
    let lines: Vec<&str> = ran.out.lines().collect();
    let expected = [
        format!("mydb is PostgreSQL 16.4 in {vpc}, IAM authentication is on."),
        format!("The database has 2 security groups: {} gets the rule that lets the functions in.", world.id("group")),
        "Wrote samconfig.toml: 7 parameters. Still yours to choose: DatabaseUser (iam_ro_user), Query (connection).".into(),
        format!(
            "Before the first run, as administrator:  psql \"host={} port=5433 dbname=shop user=postgres sslmode=require\" -f sql/roles.sql",
            world.id("mydb_host")
        ),
    ];
    assert!(ran.ok, "{}", ran.error);
    assert_eq!(lines, expected, "{}", ran.error);
    let written = world.parameters("default").await;
    let expected = pairs(&[
        ("DatabaseHost", world.id("mydb_host")),
        ("DatabasePort", "5433"),
        ("DatabaseResourceId", world.id("mydb_id")),
        ("DatabaseName", "shop"),
        ("SubnetIds", world.id("private")),
        ("VpcId", vpc),
        ("DatabaseSecurityGroupId", world.id("group")),
    ]);
    assert_eq!(written, expected);
    // Everything that stood in the file stands there still.
    let after = world.file();
    let mut kept = after.lines();
    for line in before.lines() {
        assert!(kept.any(|other| other == line), "{line}: {after}");
    }
    assert!(after.contains("region = \"us-east-1\""), "{after}");

    let again = world.configure(&["MyDB"]).await;
    assert!(again.out.contains("samconfig.toml has these values already"), "{}", again.out);
    assert_eq!(world.file(), after);
}

async fn clusters_and_proxies_are_described_too(world: &World) {
    let cluster = [("id", "prod"), ("resource_id", world.id("prod_id")), ("name", "orders")];
    let [writer, reader] = ["prod_writer", "prod_reader"].map(|name| world.id(name));
    let member = world.id("member_host");
    for (arguments, host) in [
        (&["prod"][..], writer),
        (&["prod", "--reader"], reader),
        (&[reader], reader),
        (&["prod-1"], member),
        (&[&format!("{}.", member.to_uppercase())], member),
        (&["prod", "--config-env", "dev"], writer),
    ] {
        let report = world.report(arguments).await;
        for (name, value) in cluster {
            assert_eq!(report["database"][name], value, "{arguments:?}: {report:#}");
        }
        assert_eq!(report["database"]["host"], host, "{arguments:?}: {report:#}");
        assert_eq!(report["database"]["engine"], "aurora-postgresql");
        assert_eq!(report["database"]["iam"], "off");
        let command = "aws rds modify-db-cluster --db-cluster-identifier prod --enable-iam-database-authentication";
        assert!(notes(&report).contains(command), "{report:#}");
        let environment = arguments.get(2).unwrap_or(&"default");
        assert_eq!(world.parameters(environment).await["DatabaseHost"], host);
    }

    let report = world.report(&["front"]).await;
    let database = &report["database"];
    for (name, value) in [
        ("resource_id", world.id("front_id")),
        ("kind", "proxy"),
        ("version", "16.4"),
        ("name", "shop"),
        ("iam", "on"),
    ] {
        assert_eq!(database[name], value, "{report:#}");
    }
    assert_eq!(database["port"], 5432, "the proxy's, not the database's: {report:#}");
    let command = report["administrator"].as_str().unwrap();
    let host = world.id("mydb_host");
    assert!(command.contains(host) && command.ends_with("-f sql/proxy.sql"), "{command}");

    // One name, two databases.
    let ran = world.configure(&["twin"]).await;
    assert!(!ran.ok && ran.error.contains("the name of several"), "{}", ran.error);
    let ran = world.configure(&["mydb", "--reader"]).await;
    assert!(!ran.ok && ran.error.contains("--reader is for clusters and proxies"), "{}", ran.error);

    // Behind this one is a cluster: only its writer takes the administrator's scripts, so for its instances.
    for database in ["pooled", "prod-2"] {
        let report = world.report(&[database]).await;
        let command = report["administrator"].as_str().unwrap();
        assert!(command.contains(&format!("host={writer} ")), "{database}: {command}");
    }
}

#[tokio::test]
async fn endpoints_of_a_proxy_are_found() {
    let world = World::with_endpoints().await;
    let reader = world.id("reader");
    for arguments in
        [&["front-ro"][..], &[reader], &["front-ro", "--reader"], &["front", "--reader"]]
    {
        let database = &world.report(arguments).await["database"];
        for (name, value) in [
            ("id", "front"),
            ("host", reader),
            ("resource_id", world.id("id")),
            ("kind", "proxy"),
            ("vpc", world.id("other")),
        ] {
            assert_eq!(database[name], value, "{arguments:?}: {database:#}");
        }
        let subnets: Vec<&str> = world.id("other_subnets").split(',').collect();
        assert_eq!(database["subnets"], json!(subnets), "{arguments:?}: {database:#}");
        assert_eq!(database["security_groups"], json!([world.id("other_group")]));
    }
    let database = &world.report(&["front"]).await["database"];
    assert_eq!((&database["host"], &database["vpc"]), (&world.made["host"], &world.made["vpc"]));

    let several =
        format!("many has several read-only endpoints: name one of {}", world.id("several"));
    for (arguments, why) in [
        (["front-rw", "--reader"], "front-rw is not a read-only endpoint: leave --reader out"),
        (["many", "--reader"], several.as_str()),
        (["none", "--reader"], "none has no read-only endpoint"),
        (["front-r0", "--region=us-east-1"], "has no instance, cluster or proxy front-r0"),
    ] {
        let before = world.file();
        let ran = world.configure(&arguments).await;
        assert!(!ran.ok && ran.error.contains(why), "{arguments:?}: {}{}", ran.out, ran.error);
        assert_eq!(world.file(), before);
    }
}

async fn every_engine_has_its_function(world: &World) {
    for (database, function) in [("graph", "neptune-query"), ("legacy", "mysql-query")] {
        let report = world.report(&[database]).await;
        assert_eq!(report["function"], function, "{report:#}");
        let written = world.parameters(function).await;
        assert_eq!(written["DatabaseHost"], report["database"]["host"], "{report:#}");
        assert_eq!(written["DatabaseResourceId"], report["database"]["resource_id"], "{report:#}");
        assert!(world.file().contains(&format!("stack_name = \"rds-iam-{function}\"")));
        let ran = world.configure(&[database]).await;
        let command = format!("make build FUNCTION={function}; sam deploy --config-env {function}");
        assert!(ran.out.contains(&command), "{}", ran.out);
    }
    let report = world.report(&["graph"]).await;
    let command = "aws neptune modify-db-cluster --db-cluster-identifier graph --enable-iam";
    assert!(notes(&report).contains(command), "{report:#}");
    assert_eq!(report["administrator"], Value::Null);
    let report = world.report(&["mydb", "--function", "event-query"]).await;
    assert_eq!(report["environment"], "event-query");
    assert!(
        report["administrator"].as_str().unwrap().ends_with("-f sql/roles.sql -f sql/ledger.sql")
    );
    for (arguments, why) in [
        (
            ["legacy", "--function", "scheduled-query"],
            "scheduled-query does not speak to Aurora MySQL",
        ),
        (["mydb", "--function", "neptune-query"], "neptune-query does not speak to PostgreSQL"),
        (["mydb", "--function", "sheduled-query"], "no template of sheduled-query"),
        (["mydv", "--region", "us-east-1"], "did you mean mydb?"),
        (["mydb", "--region", "eu-west-1"], "eu-west-1 has no instance, cluster or proxy mydb"),
    ] {
        let before = world.file();
        let ran = world.configure(&arguments).await;
        assert!(!ran.ok && ran.error.contains(why), "{arguments:?}: {}{}", ran.out, ran.error);
        assert_eq!(world.file(), before);
    }
}

/// What SAM requires is written, or a person is asked for it.
async fn every_template_is_read_as_sam_reads_it(world: &World) {
    let read = format!(
        "import json, pathlib; from samcli.yamlhelper import yaml_parse as parse; root = pathlib.Path('{}'); \
         own = {{path.parent.name: path for path in root.glob('functions/*/template.yaml')}}; \
         own['scheduled-query'] = root / 'template.yaml'; \
         print(json.dumps({{name: parse(path.read_text())['Parameters'] for name, path in own.items()}}))",
        world.project.path().display()
    );
    let mut templates: BTreeMap<String, Value> =
        serde_json::from_str(&python(&read).await).unwrap();
    for function in ["scheduled-query"].iter().chain(&FUNCTIONS) {
        let parameters = templates.remove(*function).unwrap();
        let database = match *function {
            "mysql-query" => "legacy",
            "neptune-query" => "graph",
            _ => "mydb",
        };
        // An environment in which nothing is set.
        let arguments = [database, "--function", function, "--config-env", "new", "--dry-run"];
        let report = world.report(&arguments).await;
        let named = |list: &str, key: &str| -> BTreeMap<String, Value> {
            let items = report[list].as_array().unwrap().iter();
            items.map(|item| (item["name"].as_str().unwrap().into(), item[key].clone())).collect()
        };
        let (written, choose) = (named("changes", "after"), named("choose", "default"));
        assert_eq!(written["DatabaseHost"], report["database"]["host"], "{function}: {report:#}");
        for (name, parameter) in parameters.as_object().unwrap() {
            let is_set = written.contains_key(name) || choose.contains_key(name);
            let default = &parameter["Default"];
            assert!(is_set || !default.is_null(), "{function}: {name} is required: {report:#}");
            assert_eq!(choose.get(name).unwrap_or(default), default, "{function}: {name}");
        }
    }
    assert!(templates.is_empty(), "{templates:?}");
}

#[tokio::test]
async fn the_documented_policy_is_enough_and_what_is_missing_is_named() {
    let world = World::start().await;
    let document = std::fs::read_to_string(common::root().join("docs/deploy.md")).unwrap();
    let section = document.split_once("\n## Configure\n").unwrap().1;
    let policy = section.split_once("```json\n").unwrap().1.split_once("```").unwrap().0;
    let mut policy: Value = serde_json::from_str(policy).unwrap();
    let actions = policy["Statement"][0]["Action"].as_array().unwrap().clone();
    let mut may = async |actions: Vec<&Value>| {
        policy["Statement"][0]["Action"] = json!(actions);
        let put = format!(
            "client('iam', aws_access_key_id='{}', aws_secret_access_key='{}').put_user_policy(UserName='caller', PolicyName='configure', PolicyDocument='{policy}')",
            world.id("admin_key"),
            world.id("admin_secret"),
        );
        script(&world.url, &put).await;
    };
    may(actions.iter().collect()).await;
    script(&world.url, "import urllib.request as r; r.urlopen(r.Request(client('sts').meta.endpoint_url + '/moto-api/reset-auth', b'0', {'Content-Type': 'text/plain'}))").await;
    for database in ["mydb", "prod", "front", "public"] {
        let report = world.report(&[database]).await;
        assert_eq!(report["missing_rights"], json!([]), "{report:#}");
    }
    // Each action has a database that it is needed for.
    for (action, database) in [
        ("rds:DescribeDBInstances", "prod"),
        ("rds:DescribeDBClusters", "mydb"),
        ("rds:DescribeDBProxies", "mydb"),
        ("rds:DescribeDBProxyEndpoints", "other.endpoint.proxy-abc.us-east-1.rds.amazonaws.com"),
        ("rds:DescribeDBProxyTargets", "front"),
        ("rds:DescribeDBSubnetGroups", "prod"),
        ("ec2:DescribeRouteTables", "mydb"),
        ("ec2:DescribeSubnets", "public"),
        ("ec2:DescribeSecurityGroups", "mydb"),
    ] {
        may(actions.iter().filter(|other| **other != *action).collect()).await;
        let report = world.report(&[database]).await;
        assert_eq!(report["missing_rights"], json!([action]), "{report:#}");
        assert!(report["database"]["host"].is_string(), "{report:#}");
    }
    // Of an endpoint's name, something can be written in any case; of another, nothing.
    may(actions.iter().filter(|other| *other == "ec2:DescribeSubnets").collect()).await;
    let report = world.report(&[world.id("mydb_host"), "--config-env", "new"]).await;
    assert_eq!(report["missing_rights"].as_array().unwrap().len(), 4, "{report:#}");
    assert_eq!(report["choose"][0]["name"], "DatabaseResourceId", "{report:#}");
    let ran = world.configure(&["mydb"]).await;
    assert!(
        !ran.ok && ran.error.contains("The right rds:DescribeDBInstances is missing"),
        "{}",
        ran.error
    );
}

async fn subnets_are_private_ones(world: &World) {
    for (database, subnets, note) in [
        ("mydb", world.id("private"), None),
        ("public", world.id("private"), Some("SubnetIds are private subnets of its VPC")),
        ("alone", world.id("alone_subnets"), Some("The VPC has no private subnet")),
    ] {
        let report = world.report(&[database]).await;
        let expected: Vec<&str> = subnets.split(',').collect();
        assert_eq!(report["database"]["subnets"], json!(expected), "{report:#}");
        let noted = notes(&report).contains("SubnetIds");
        assert_eq!(noted, note.is_some(), "{report:#}");
        assert!(note.is_none_or(|note| notes(&report).contains(note)), "{report:#}");
    }
    // No built-in root is this authority's.
    assert!(notes(&world.report(&["public"]).await).contains("authority rds-ca-2019"));
    assert!(!notes(&world.report(&["mydb"]).await).contains("authority"));
}

async fn values_change_only_after_a_yes(world: &World) {
    world.report(&["mydb"]).await;
    // As a restore under the old name would leave the file; moto gives every instance the same id.
    let (new, old) = (world.id("mydb_id"), "db-BEFORETHERESTORE");
    let chosen = world.file().replace("DatabaseName=shop", "DatabaseName=reports");
    let chosen = chosen.replace(new, old);
    std::fs::write(world.project.path().join("samconfig.toml"), &chosen).unwrap();

    let ran = world.configure(&["mydb"]).await;
    assert!(!ran.ok && ran.error.contains("nothing is written: --yes"), "{}", ran.error);
    let changed = format!("The resource id changed from {old} to {new}");
    let diff = format!("- DatabaseResourceId={old}\n+ DatabaseResourceId={new}\n");
    assert!(ran.out.contains(&changed) && ran.out.contains(&diff), "{}", ran.out);
    assert!(!ran.out.contains("DatabaseName="), "RDS knows the first database only: {}", ran.out);
    assert_eq!(world.file(), chosen);
    let ran = world.configure(&["mydb", "--json"]).await;
    assert!(!ran.ok && ran.out.is_empty(), "{}", ran.out);

    // Python gives the program a terminal, and types the answer.
    let terminal = async |answer: &str| {
        let spawn = "import os, pty, sys\n\
            def read(fd):\n    data = os.read(fd, 1024)\n    if b'[y/N]' in data: os.write(fd, sys.argv[1].encode())\n    return data\n\
            sys.exit(pty.spawn(sys.argv[2:], read, lambda fd: b'') >> 8)";
        let mut command = Command::new(common::root().join("target/venv/bin/python"));
        command.args(["-c", spawn, answer, env!("CARGO_BIN_EXE_rds-doctor"), "configure", "mydb"]);
        command.stdin(Stdio::null());
        world.run(command).await
    };
    let ran = terminal("\n").await;
    assert!(!ran.ok && ran.out.contains("nothing is written"), "{}", ran.out);
    assert_eq!(world.file(), chosen);
    let ran = terminal("y\n").await;
    assert!(ran.ok && ran.out.contains("Wrote samconfig.toml"), "{}", ran.out);
    let written = world.parameters("default").await;
    assert_eq!(written["DatabaseResourceId"], new);
    assert_eq!(written["DatabaseName"], "reports");
    // The other database is another choice.
    world.report(&["prod"]).await;
    assert_eq!(world.parameters("default").await["DatabaseName"], "orders");
    // RDS names no database of this one, so that the value of the one before may be wrong.
    let report = world.report(&["alone"]).await;
    let name = json!({ "name": "DatabaseName", "default": "orders" });
    assert!(report["choose"].as_array().unwrap().contains(&name), "{report:#}");
}

async fn what_keeps_it_from_asking_is_said(world: &World) {
    for (name, value, why) in [
        ("AWS_REGION", "", "no region: give --region"),
        ("AWS_ACCESS_KEY_ID", "", "no AWS credentials"),
        ("AWS_ENDPOINT_URL_RDS", "http://127.0.0.1:1", "RDS cannot be reached"),
    ] {
        let mut command = Command::new("env");
        command.args([&format!("{name}={value}"), "AWS_EC2_METADATA_DISABLED=true"]);
        command.arg(env!("CARGO_BIN_EXE_rds-doctor")).args(["configure", "mydb"]);
        let ran = world.run(command).await;
        assert!(!ran.ok && ran.error.contains(why), "{name}: {}{}", ran.out, ran.error);
    }
    // Without EC2, the rest is written.
    let mut command = Command::new("env");
    command.args(["AWS_ENDPOINT_URL_EC2=http://127.0.0.1:1", env!("CARGO_BIN_EXE_rds-doctor")]);
    command.args(["configure", "mydb"]);
    let ran = world.run(command).await;
    assert!(
        ran.ok
            && ran.out.contains(
                "ec2:DescribeRouteTables has no answer (http://127.0.0.1:1/ cannot be reached)"
            ),
        "{}{}",
        ran.out,
        ran.error
    );
    let all = world.parameters("default").await;
    assert!(all["SubnetIds"].contains(world.id("private")), "{all:?}");
}
