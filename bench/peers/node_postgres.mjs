// A warm-connection read on PostgreSQL, as one writes it in Node: rds-signer's token and pg.
import { readFileSync } from "node:fs";
import { Signer } from "@aws-sdk/rds-signer";
import pg from "pg";

const QUERY = "SELECT customer_id, name, email, age FROM customers WHERE age >= $1 ORDER BY age DESC";
const env = process.env;
let client;

async function connect() {
  const port = Number(env.PGPORT);
  const signer = new Signer({ hostname: env.PGHOST, port, username: env.PGUSER, region: env.AWS_REGION });
  const fresh = new pg.Client({
    host: env.PGHOSTADDR, port, user: env.PGUSER, database: env.PGDATABASE, password: await signer.getAuthToken(),
    ssl: { ca: readFileSync(env.PGSSLROOTCERT), servername: env.PGHOST },
  });
  await fresh.connect();
  return fresh;
}

export async function handler(event) {
  client ??= await connect();
  // pg sends one query after another; queued together, they at least do not wait for the handler.
  const [, answer] = await Promise.all([
    client.query("BEGIN READ ONLY"),
    client.query({ name: "customers", text: QUERY, values: [event.params.min_age] }),
    client.query("COMMIT"),
  ]);
  return { rows: answer.rows, row_count: answer.rows.length };
}
