// What @cloud-copilot/iam-simulate makes of the cases of a file: one verdict a line.
const { readFileSync } = require('node:fs')
const { runSimulation } = require('@cloud-copilot/iam-simulate')

const words = {
  Allowed: 'allowed',
  ImplicitlyDenied: 'implicitly denied',
  ExplicitlyDenied: 'explicitly denied',
}
const named = (policies) => policies.map((policy, number) => ({ name: `${number}`, policy }))

async function verdict(test) {
  const simulated = await runSimulation(
    {
      request: {
        principal: test.principal,
        action: test.action,
        resource: { resource: test.resource, accountId: test.account },
        contextVariables: test.context,
      },
      identityPolicies: named(test.identity),
      permissionBoundaryPolicies: test.boundary && named([test.boundary]),
      sessionPolicy: test.session,
      resourcePolicy: test.trust,
      serviceControlPolicies: [],
      resourceControlPolicies: [],
    },
    {},
  )
  return words[simulated.overallResult] ?? JSON.stringify(simulated)
}

async function main() {
  for (const test of JSON.parse(readFileSync(process.argv[2], 'utf8'))) {
    console.log(await verdict(test))
  }
}
main()
