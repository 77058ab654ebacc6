import { pathToFileURL } from 'node:url'
import { endWithSupervisor } from './lifeline.ts'

// What every rank process runs first. The program of the rank takes seconds to load, so it comes second.
endWithSupervisor()
await import(pathToFileURL(process.argv[2] ?? '').href)
