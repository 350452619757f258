// Node's clients: `clients.cjs CLIENT MODE`, as clients.py.
const { readFileSync } = require('node:fs')
const { join } = require('node:path')
const { Signer } = require('@aws-sdk/rds-signer')

const [client, mode] = process.argv.slice(2)
const { env } = process
const mysql = 'MYSQL_HOST' in env
const rdsHost = mysql ? env.MYSQL_HOST : env.PGHOST
const port = Number(mysql ? env.MYSQL_TCP_PORT : env.PGPORT)
const user = mysql ? env.MYSQL_USER : env.PGUSER
const database = mysql ? env.MYSQL_DATABASE : env.PGDATABASE
const ca = readFileSync(env.ROOTS, 'utf8')
// Dialled as localhost, which the certificate names too.
const where = { host: 'localhost', port, user, database }
const statement = "SELECT 'mine' AS mine"
const iam = { plugins: 'iam', iamHost: rdsHost, iamDefaultPort: port, iamRegion: 'us-east-1' }

let tokens = 0
function token() {
  tokens += 1
  return new Signer({ hostname: rdsHost, port, username: user, region: 'us-east-1' }).getAuthToken()
}

const clients = {
  pg: {
    package: 'pg', tls: { ssl: { ca } }, fixed: {},
    async run(options) {
      const connection = new (require('pg').Client)({ ...where, password: token, ...options })
      await connection.connect()
      const { rows } = await connection.query(statement)
      await connection.end()
      return rows[0].mine
    },
  },
  'postgres.js': {
    package: 'postgres', tls: { ssl: { ca } }, fixed: {},
    async run(options) {
      const sql = require('postgres')({ ...where, password: token, ...options })
      const rows = await sql.unsafe(statement)
      await sql.end()
      return rows[0].mine
    },
  },
  'wrapper-pg': {
    package: 'aws-advanced-nodejs-wrapper', tls: { ssl: { ca } }, fixed: iam,
    async run(options) {
      const { AwsPGClient } = require('aws-advanced-nodejs-wrapper/pg')
      const connection = new AwsPGClient({ ...where, ...iam, ...options })
      await connection.connect()
      const { rows } = await connection.query(statement)
      await connection.end()
      return rows[0].mine
    },
  },
  mysql2: {
    package: 'mysql2', tls: { ssl: { ca } }, fixed: { enableCleartextPlugin: true },
    async run(options) {
      const connection = await require('mysql2/promise').createConnection(
        { ...where, password: await token(), ...this.fixed, ...options })
      const [rows] = await connection.query(statement)
      await connection.end()
      return rows[0].mine
    },
  },
  'wrapper-mysql2': {
    package: 'aws-advanced-nodejs-wrapper', tls: { ssl: { ca } }, fixed: { ...iam, enableCleartextPlugin: true },
    async run(options) {
      const { AwsMySQLClient } = require('aws-advanced-nodejs-wrapper/mysql')
      const connection = new AwsMySQLClient({ ...where, ...this.fixed, ...options })
      await connection.connect()
      const [rows] = await connection.query({ sql: statement })
      await connection.end()
      return rows[0].mine
    },
  },
}

async function main() {
  const { package: name, tls, fixed, run } = clients[client]
  const options = mode === 'bare' ? {} : tls
  for (let n = mode === 'bare' ? 1 : 2; n > 0; n--) {
    const mine = await run.call(clients[client], options)
    if (mine !== 'mine') throw new Error(`it read ${mine}`)
  }
  const { version } = JSON.parse(readFileSync(join(env.NODE_PATH, name, 'package.json')))
  if (mode !== 'bare') console.log(JSON.stringify({ version, needs: Object.keys({ ...fixed, ...tls }), tokens }))
}

// The wrapper's monitors live on.
main().then(() => process.exit(0), (error) => {
  console.error(error)
  process.exit(1)
})
