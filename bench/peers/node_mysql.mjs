// A warm-connection read on Aurora MySQL in Node: rds-signer's token and mysql2.
import { readFileSync } from "node:fs";
import { Signer } from "@aws-sdk/rds-signer";
import mysql from "mysql2/promise";

const QUERY = "SELECT customer_id, name, email, age FROM customers WHERE age >= ? ORDER BY age DESC";
const env = process.env;
let client;

async function connect() {
  const port = Number(env.MYSQL_TCP_PORT);
  const signer = new Signer({ hostname: env.MYSQL_HOST, port, username: env.MYSQL_USER, region: env.AWS_REGION });
  const token = await signer.getAuthToken();
  return mysql.createConnection({
    host: "localhost", port, user: env.MYSQL_USER, database: env.MYSQL_DATABASE,
    ssl: { ca: readFileSync(env.MYSQL_SSL_CA) },
    authPlugins: { mysql_clear_password: () => () => Buffer.from(token + "\0") },
  });
}

export async function handler(event) {
  client ??= await connect();
  const [, [rows]] = await Promise.all([
    client.query("START TRANSACTION READ ONLY"),
    client.execute(QUERY, [event.params.min_age]),
    client.query("COMMIT"),
  ]);
  return { rows, row_count: rows.length };
}
