// Builds the bridge against a Python that already has all packages, on a machine where set-up cannot install any.
// Usage: node scripts/bench/host-bridge.mjs /path/to/python   (node_modules must exist)
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildBridge, nodeHeaders } from '../setup/bridge.mjs'
import { Checkout } from '../setup/checkout.mjs'
import { probePython } from '../setup/probe-python.mjs'
import { findCompiler, runs } from '../setup/toolchain.mjs'

const checkout = new Checkout(path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..'))
const probe = probePython(process.argv[2] ?? 'python3')
if (!probe.ok) throw new Error(probe.reason)
const compiler = findCompiler(process.env['CXX'], runs)
if (!compiler.ok) throw new Error(compiler.missing.what)
mkdirSync(checkout.logs, { recursive: true })
const include = await nodeHeaders(checkout, { execPath: process.execPath, npmRoot: null })
await buildBridge(checkout, probe.facts, { compiler: compiler.command, include })
process.stdout.write(`built for python ${probe.facts.version} (${probe.facts.executable})\n`)
