#!/usr/bin/env node
// `npx draftbridge` in a checkout. Set-up links it among the programs of the packages.
import { register } from 'tsx/esm/api'

register()
await import('../src/cli/main.ts')
