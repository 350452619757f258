// Writes an order as mysql2 does it, with a prepared statement: mysql_faults.cjs <order>. Prints how far it comes.
const { readFileSync } = require('node:fs')
const { Signer } = require('@aws-sdk/rds-signer')
const { createConnection } = require('mysql2/promise')

const { MYSQL_HOST, MYSQL_HOSTADDR, MYSQL_TCP_PORT, MYSQL_USER, MYSQL_DATABASE, MYSQL_SSL_CA, AWS_REGION } = process.env
const port = Number(MYSQL_TCP_PORT)

async function main() {
  const signer = new Signer({ hostname: MYSQL_HOST, port, username: MYSQL_USER, region: AWS_REGION })
  const connection = await createConnection({
    host: MYSQL_HOSTADDR, port, user: MYSQL_USER, database: MYSQL_DATABASE, enableCleartextPlugin: true,
    password: await signer.getAuthToken(),
    ssl: {
      ca: readFileSync(MYSQL_SSL_CA, 'utf8'),
      checkServerIdentity: (_, certificate) =>
        require('node:tls').checkServerIdentity(MYSQL_HOST, certificate),
    },
  })
  await connection.beginTransaction()
  await connection.execute('INSERT INTO orders VALUES (?, 1, NULL)', [process.argv[2]])
  console.log('inserted')
  await connection.commit()
  console.log('committed')
  await connection.end()
}

main().catch((error) => console.error(error.message))
